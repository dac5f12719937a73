"""Streams with the published voices: the codes of `generate`, with a model of the published token space."""

from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions, StreamOptions, VoicePreset
from utterances import TEXT, assert_whole, streamed


@pytest.mark.parametrize("name", ["v2/en_speaker_6", "v2/de_speaker_3"])
def test_real_voices(bark: Bark, voices: Path, name: str) -> None:
    voice, options = VoicePreset.load(voices / f"{name}.npz"), GenerationOptions(max_seconds=1.5)
    expected = bark.generate(TEXT, voice=voice, options=options, seed=3)
    for exact in (False, True):
        chunks, speech = streamed(
            bark, TEXT, voice=voice, options=options, seed=3, streaming=StreamOptions(exact=exact)
        )
        np.testing.assert_array_equal(speech.tokens.coarse, expected.tokens.coarse)
        assert_whole(bark, chunks, speech)
    np.testing.assert_array_equal(speech.tokens.fine, expected.tokens.fine)
