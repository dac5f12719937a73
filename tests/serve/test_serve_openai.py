"""What OpenAI's own client does with the server."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import openai
import pytest
import soundfile

from serving import LONG, Running, running, until

FORMATS = {"mp3": "audio/mpeg", "opus": "audio/ogg; codecs=opus", "flac": "audio/flac", "wav": "audio/wav",
           "pcm": "audio/pcm", "aac": "audio/aac"}  # fmt: skip


def client(server: Running, key: str = "a-key", retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=retries)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_it_speaks_in_every_format(server: Running, audio_format: str) -> None:
    with client(server) as ours:
        answer = ours.audio.speech.create(
            model="tts-1", voice="alloy", input="hello", response_format=audio_format, extra_body={"seed": 2}
        )
    assert answer.response.headers["content-type"] == FORMATS[audio_format]
    assert answer.response.headers["x-bark-onnx-seed"] == "2"
    assert len(answer.content) > 5000


def test_the_default_format_is_mp3(server: Running) -> None:
    with client(server) as ours:
        content = ours.audio.speech.create(model="tts-1", voice="alloy", input="hello", extra_body={"seed": 2}).content
    assert soundfile.info(io.BytesIO(content)).format == "MP3"


def test_it_streams_to_a_file_and_by_chunks(server: Running, tmp_path: Path) -> None:
    with client(server) as ours:
        speech = ours.audio.speech.with_streaming_response
        arguments = {"model": "tts-1", "voice": "alloy", "input": "hello", "response_format": "pcm"}
        with speech.create(**arguments, extra_body={"seed": 2}) as answer:
            answer.stream_to_file(tmp_path / "hello.pcm")
        with speech.create(**arguments, extra_body={"seed": 2}) as answer:
            chunks = list(answer.iter_bytes(4096))
    assert len(chunks) > 1
    assert b"".join(chunks) == (tmp_path / "hello.pcm").read_bytes()


def test_it_lists_models_and_describes_one(server: Running) -> None:
    with client(server) as ours:
        names = [model.id for model in ours.models.list()]
        assert names == ["bark-test", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
        assert ours.models.retrieve("bark-test").owned_by == "bark-onnx"
        with pytest.raises(openai.NotFoundError):
            ours.models.retrieve("suno/bark")


def test_wrong_requests_are_the_errors_that_it_knows(server: Running) -> None:
    with client(server) as ours:
        for changed, error, param in [
            ({"voice": "nobody"}, openai.BadRequestError, "voice"),
            ({"input": "a" * 4097}, openai.BadRequestError, "input"),
            ({"input": ""}, openai.BadRequestError, "input"),
            ({"speed": 9}, openai.BadRequestError, "speed"),
            ({"response_format": "m4a"}, openai.BadRequestError, "response_format"),
            ({"model": "whisper-1"}, openai.NotFoundError, "model"),
        ]:
            with pytest.raises(error) as raised:
                ours.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": "hello", **changed})
            assert raised.value.param == param
            assert raised.value.request_id == raised.value.response.headers["x-request-id"]


def test_only_those_with_a_key_may_use_it(bundle: Path) -> None:
    with running(bundle, api_keys=("first-key", "second-key")) as server:
        for key in ("first-key", "second-key"):
            with client(server, key) as ours:
                ours.models.list()
        with client(server, "third-key") as ours:
            with pytest.raises(openai.AuthenticationError) as raised:
                ours.audio.speech.create(model="tts-1", voice="alloy", input="hello")
            assert raised.value.code == "invalid_api_key"
        assert server.get("/metrics").status == 401
        for path in ("/health", "/ready", "/docs", "/openapi.json", "/v1/audio/voices", "/v1/audio/models"):
            assert server.get(path).status == 200  # Open WebUI asks without a key
        assert server.post("/v1/audio/voices", {}).error["code"] is None


def test_twenty_at_once_each_get_their_own(server: Running) -> None:
    """The same as each gets alone: by the seed, of which there are four."""

    async def all_at_once() -> list[bytes]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="a-key", max_retries=0) as ours:
            answers = await asyncio.gather(
                *(
                    ours.audio.speech.create(
                        model="tts-1", voice="alloy", input="hello", response_format="pcm",
                        extra_body={"seed": number % 4},
                    )
                    for number in range(20)
                )
            )  # fmt: skip
            return [answer.content for answer in answers]

    together = asyncio.run(all_at_once())
    alone = [server.speak("hello", seed=seed).body for seed in range(4)]
    assert len(set(alone)) == 4
    assert together == [alone[number % 4] for number in range(20)]


def test_a_busy_server_is_asked_again(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits as long as Retry-After says, and then gets its speech."""
    with running(bundle, max_seconds_queued=20) as server, client(server, retries=5) as ours:
        monkeypatch.setattr(server.service.backlog, "retry_after", lambda expected: 1)
        ask = partial(ours.audio.speech.create, model="tts-1", voice="alloy", input="hello", extra_body={"seed": 2})
        speech = ours.audio.speech.with_streaming_response
        with (
            ThreadPoolExecutor() as others,
            speech.create(model="tts-1", voice="alloy", input=LONG, response_format="pcm") as long_answer,
        ):
            asking = others.submit(ask)
            until(lambda: server.outcomes().get("rejected") == 1)
            for _ in long_answer.iter_bytes():
                pass
            assert asking.result().content
