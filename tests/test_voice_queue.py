"""The queue of examples/voice_queue.py: order, voices, skip, stop, limits, errors. No network is needed."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from bark_onnx import AudioChunk, Bark, BarkError, NothingSaid, QueueFull
from markdown_pages import ROOT

_SPEC = importlib.util.spec_from_file_location("voice_queue", ROOT / "examples" / "voice_queue.py")
assert _SPEC is not None
assert _SPEC.loader is not None
voice_queue = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(voice_queue)

LEVELS = {"one": 0.1, "two": 0.2, "three": 0.3}  # a text's audio is a constant
SAMPLES = 2400  # in a chunk
SECONDS = 30  # after which a test has failed


class FakeStream:
    """Three chunks of constant samples; the text "nothing" fails at its first chunk."""

    def __init__(self, text: str, voice: str) -> None:
        self.text, self.voice, self.closed = text, voice, False

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "FakeStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        for _ in range(3):
            if self.closed:
                return
            if self.text == "nothing":
                raise NothingSaid
            yield AudioChunk(np.full(SAMPLES, LEVELS[self.text], np.float32), 0.0, 24_000)
            await asyncio.sleep(0)


class FakeBark:
    """Makes fake streams, and keeps them."""

    voices = ("en_female", "en_male")
    sample_rate = 24_000

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []

    def stream(self, text: str, *, voice: str, worker: object) -> FakeStream:
        if not text:
            raise BarkError("the text is empty")
        self.streams.append(FakeStream(text, voice))
        return self.streams[-1]


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, SECONDS))


async def heard(queue: Any) -> list[tuple[str, float]]:
    """Play all messages: the text of each, by its level, and how many seconds of it were heard."""
    samples = bytearray()

    async def play() -> None:
        async for stereo in queue.audio():
            samples.extend(stereo)

    player = asyncio.create_task(play())
    await queue.join()
    player.cancel()
    with suppress(asyncio.CancelledError):
        await player
    left, right = np.frombuffer(bytes(samples), "<i2").reshape(-1, 2).T / 32768
    assert (left == right).all()
    where = {text: np.isclose(left, level, atol=0.01) for text, level in LEVELS.items()}
    lengths = {text: found.sum() / 48_000 for text, found in where.items()}
    in_order = sorted(LEVELS, key=lambda text: where[text].argmax())
    return [(text, lengths[text]) for text in in_order if lengths[text] > 0.02]


def test_messages_are_heard_in_order_and_whole() -> None:
    async def speak() -> None:
        queue = voice_queue.VoiceQueue(FakeBark(), None)
        for text in ("two", "one", "three"):
            queue.say("ada", text)
        spoken = await heard(queue)
        assert [text for text, _ in spoken] == ["two", "one", "three"]
        assert [seconds for _, seconds in spoken] == pytest.approx([0.3] * 3, abs=0.02)  # resampling has edges

    run(speak())


def test_a_user_has_the_same_voice_always_and_others_have_others() -> None:
    async def speak() -> None:
        bark = FakeBark()
        for user in ("ada", "carol", "ada"):
            voice_queue.VoiceQueue(bark, None).say(user, "one")
        voices = [stream.voice for stream in bark.streams]
        assert voices == ["en_female", "en_male", "en_female"]

    run(speak())


def test_skip_ends_the_message_that_is_heard_and_the_next_one_is_heard() -> None:
    async def speak() -> None:
        bark = FakeBark()
        queue = voice_queue.VoiceQueue(bark, None)
        queue.skip()  # nothing is heard
        queue.say("ada", "one")
        queue.say("ada", "two")
        audio = queue.audio()
        await anext(audio)
        queue.skip()
        assert [stream.closed for stream in bark.streams] == [True, False]
        await audio.aclose()
        assert [text for text, _ in await heard(queue)] == ["two"]

    run(speak())


def test_stop_ends_all_messages_and_later_ones_are_heard() -> None:
    async def speak() -> None:
        bark = FakeBark()
        queue = voice_queue.VoiceQueue(bark, None)
        queue.say("ada", "one")
        queue.say("carol", "two")
        audio = queue.audio()
        await anext(audio)
        queue.stop()
        assert [stream.closed for stream in bark.streams] == [True, True]
        queue.say("ada", "three")
        await audio.aclose()
        assert [text for text, _ in await heard(queue)] == ["three"]

    run(speak())


def test_a_message_that_fails_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    async def speak() -> None:
        queue = voice_queue.VoiceQueue(FakeBark(), None)
        queue.say("ada", "nothing")
        with pytest.raises(BarkError, match="the text is empty"):
            queue.say("ada", "")
        queue.say("ada", "one")
        assert [text for text, _ in await heard(queue)] == ["one"]

    run(speak())
    assert "a message could not be spoken" in capsys.readouterr().out


def test_a_full_queue_refuses_a_message_before_any_work() -> None:
    async def speak() -> None:
        bark = FakeBark()
        queue = voice_queue.VoiceQueue(bark, None, most_waiting=2)
        queue.say("ada", "one")
        queue.say("ada", "two")
        with pytest.raises(QueueFull, match="2 messages are waiting"):
            queue.say("ada", "three")
        assert len(bark.streams) == 2

    run(speak())


def test_with_a_real_voice_a_skipped_message_ends_while_the_player_waits_for_it() -> None:
    async def speak() -> None:
        with Bark.load() as bark, bark.worker(slots=2) as worker:
            queue = voice_queue.VoiceQueue(bark, worker)
            queue.say("ada", "This is a long story, and it has many words. " * 40)
            queue.say("carol", "Yes.")
            seconds = 0.0
            skipped = False

            async def play() -> None:
                nonlocal seconds, skipped
                async for samples in queue.audio():
                    seconds += len(samples) / 4 / 48_000
                    if not skipped:
                        skipped = True
                        asyncio.get_running_loop().call_later(0.01, queue.skip)  # while `audio` waits for a chunk

            player = asyncio.create_task(play())
            await queue.join()
            player.cancel()
            assert skipped
            assert 0.3 < seconds < 10
            assert worker.unfinished == 0

    run(speak())
