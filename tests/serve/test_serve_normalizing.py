"""Texts are normalised in the language of the voice that a name means, or in that of the field `normalize`."""

import asyncio
from pathlib import Path

import pytest

from bark_onnx import Bark, BarkError, GenerationOptions
from bark_onnx.normalizing.libraries import LIBRARIES
from bark_onnx.normalizing.normalizer import normalizer
from bark_onnx_serve.service import Service, Words
from bark_onnx_serve.settings import Settings
from bark_onnx_serve.speech.request import SpeechRequest
from bark_onnx_serve.web.errors import ApiError

for library in LIBRARIES:
    pytest.importorskip(library)

WRITTEN, READ = "Give me 5 of 7 cats.", "Give me five of seven cats."
VOICE = "v2/en_speaker_6"
EARLY = GenerationOptions(max_seconds=0.3)


def test_the_language_is_that_of_the_voice_that_a_name_means(bundle_with_voice: Path) -> None:
    async def spoken(text: str, normalize: str) -> list[int]:
        words = Words(text, "narrator", EARLY, 2, normalize=normalize)
        with await service.begin(words) as speaking:
            async for _ in speaking:
                pass
            assert speaking.passages[0].text == text
            assert speaking._source.tokens is not None
            return speaking._source.tokens.semantic.tolist()

    bark = Bark.load(bundle_with_voice, device="cpu", threads=1)
    service = Service(bark, Settings(voice_aliases={"narrator": VOICE}))
    try:
        read = asyncio.run(spoken(READ, "off"))
        assert asyncio.run(spoken(WRITTEN, "auto")) == read
        assert asyncio.run(spoken(WRITTEN, "off")) != read
    finally:
        service.close()


def test_a_request_names_a_language(monkeypatch: pytest.MonkeyPatch) -> None:
    request = SpeechRequest(model="tts-1", input="5", voice="alloy", normalize="de")
    assert request.words().normalize == "de"
    assert SpeechRequest(model="tts-1", input="5", voice="alloy").words().normalize == "auto"
    with pytest.raises(ValueError, match="normalize"):
        SpeechRequest(model="tts-1", input="5", voice="alloy", normalize="xx")
    monkeypatch.setattr("bark_onnx.normalizing.libraries.missing", lambda: ("babel",))
    monkeypatch.setattr("bark_onnx.normalizing.normalizer.require", _missing)
    normalizer.cache_clear()
    with pytest.raises(ApiError, match="this server cannot do that: normalize"):
        SpeechRequest(model="tts-1", input="5", voice="alloy", normalize="pl").check("tts-1", 100)


def _missing(wanted: str) -> None:
    raise BarkError(f"{wanted} needs babel")
