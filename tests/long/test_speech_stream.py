"""Streams of long texts, and of texts that come piece by piece: the same speech, in order, and nothing left behind."""

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from bark_onnx import (
    Bark,
    BarkError,
    GenerationOptions,
    Guards,
    JobCancelled,
    Journal,
    LongSpeech,
    NarrationOptions,
    SpeechStream,
    StreamOptions,
    Worker,
    WorkerError,
)
from bark_onnx.arrays import Waveform
from bark_onnx.engine.engine import Engine
from bark_onnx.engine.job import Job, Request
from bark_onnx.long.narrator import Narrator
from bark_onnx.long.plan import HISTORIES, History
from bark_onnx.splitting.passages import passages
from passages import SAID, SCRIPT, SPACE, TEXT, names
from voices import make_voice, same_tokens

VOICE = make_voice(SPACE, seed=3)
ONCE = NarrationOptions(passage_seconds=2, guards=Guards(retries=0))
EXACT = StreamOptions(exact=True)
LONG: dict[str, Any] = {"voice": VOICE, "seed": 5, "narration": ONCE}
SENTENCES = [f"The {what} of the world is the laughter of the dogs." for what in ("dog", "music", "hello", "world")]


def joined(stream: SpeechStream) -> Waveform:
    """All samples. Each chunk begins where the one before it ends."""
    chunks = list(stream)
    ends = [0.0, *(chunk.start + chunk.duration for chunk in chunks)]
    assert [chunk.start for chunk in chunks] == pytest.approx(ends[:-1], abs=1e-9)
    return np.concatenate([chunk.waveform for chunk in chunks])


def pieces(text: str, seed: int, longest: int = 12) -> Iterator[str]:
    random = Random(seed)
    while text:
        length = random.randint(1, longest)
        yield text[:length]
        text = text[length:]


def wait_until_idle(worker: Worker) -> None:
    end = monotonic() + 60
    while not worker._engine.idle or worker.unfinished:
        assert monotonic() < end
        sleep(0.01)


# Long texts


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("voice", [VOICE, None], ids=["voice", "no voice"])
def test_an_exact_stream_is_the_text_not_streamed(short: Bark, history: History, voice: Any) -> None:
    """The same samples, with passages that are spoken again, too."""
    narration = replace(ONCE, guards=Guards(retries=2))
    arguments: Any = {"voice": voice, "seed": 5, "narration": narration, "history": history}
    spoken = list(short.generate_long(TEXT, **arguments))
    stream = short.stream(TEXT, streaming=EXACT, **arguments)
    assert joined(stream).tobytes() == np.concatenate([passage.waveform for passage in spoken]).tobytes()
    assert any(passage.attempts > 1 for passage in spoken)
    for own, passage in zip(stream.passages, spoken, strict=True):
        told = ("text", "start", "end", "sounds", "seed", "attempts", "problems", "rejected", "resumed")
        assert [getattr(own, name) for name in told] == [getattr(passage, name) for name in told]
    assert same_tokens(stream.tokens, spoken[0].tokens)
    assert stream.speech is None


def test_a_stream_has_the_tokens_and_the_times_of_the_text_not_streamed(short: Bark) -> None:
    spoken = list(short.generate_long(TEXT, **LONG))
    stream = short.stream(TEXT, **LONG)
    assert len(joined(stream)) == sum(len(passage.waveform) for passage in spoken)
    assert [passage.text for passage in stream.passages] == SAID
    assert [passage.seed for passage in stream.passages] == [passage.seed for passage in spoken]


def test_a_text_that_fits_is_one_utterance_as_ever(short: Bark) -> None:
    text = "Hello world. The dog is music!\n\nHello."
    alone = short.generate(text, voice=VOICE, seed=5, single=True)
    assert short.generate(text, voice=VOICE, seed=5).waveform.tobytes() == alone.waveform.tobytes()
    stream = short.stream(text, voice=VOICE, seed=5, streaming=EXACT)
    np.testing.assert_allclose(joined(stream), alone.waveform, rtol=0, atol=1e-5)
    assert stream.speech is not None
    assert same_tokens(stream.speech.tokens, alone.tokens)


def test_a_text_of_any_length_is_spoken_to_its_end(short: Bark) -> None:
    text = " ".join(SENTENCES * 8)
    speech = short.generate(text, voice=VOICE, seed=5)
    assert isinstance(speech, LongSpeech)
    spoken = [passage.text for passage in speech.passages]
    assert " ".join(spoken) == text
    assert len(speech.waveform) == sum(len(passage.waveform) for passage in speech.passages)
    assert set(speech.timings) == {"semantic", "coarse", "fine", "codec"}
    with pytest.warns(match="are cut off"):
        single = short.generate(text * 3, voice=VOICE, seed=5, single=True)
    assert len(single.tokens.semantic) <= SPACE.max_semantic_tokens


def test_a_script_streams(short: Bark) -> None:
    cast = {"HOST": make_voice(SPACE, seed=1), "GUEST": make_voice(SPACE, seed=2)}
    spoken = list(short.generate_long(SCRIPT, cast=cast, seed=6, narration=ONCE))
    stream = short.stream(SCRIPT, cast=cast, seed=6, narration=ONCE, streaming=EXACT)
    assert joined(stream).tobytes() == np.concatenate([passage.waveform for passage in spoken]).tobytes()
    assert [passage.speaker for passage in stream.passages] == [passage.speaker for passage in spoken]


@pytest.mark.parametrize("lookahead", [1, 3])
def test_passages_are_prepared_ahead_and_not_further(short: Bark, lookahead: int) -> None:
    narration = replace(ONCE, lookahead=lookahead)
    with short.stream(" ".join(SENTENCES * 3), **LONG | {"narration": narration}) as stream:
        narrator: Narrator = stream._narrator
        next(stream)
        end = monotonic() + 60
        while narrator._begun < 1 + lookahead or narrator._tasks:
            assert monotonic() < end
            sleep(0.01)
        sleep(0.05)
        assert narrator._begun == 1 + lookahead


def test_what_has_not_been_given_out_is_spoken_again(short: Bark) -> None:
    """The first passage is given out while it is made; the second is ready, and checked, before it is asked for."""
    guards = Guards(retries=2, false_alarms=1e-300)  # the pace of the voice differs, as the first passage does
    text = "\n\n".join(SAID * 3)
    spoken = list(short.generate_long(text, **LONG | {"narration": replace(ONCE, guards=guards)}))
    again = next(index for index, passage in enumerate(spoken) if index and passage.attempts > 1)
    narration = replace(ONCE, guards=guards, lookahead=64)
    with short.stream(text, **LONG | {"narration": narration}) as stream:
        next(stream)
        wait_for_all(stream)
        list(stream)
        found = stream.passages[again]
    assert (found.seed, found.attempts) == (spoken[again].seed, spoken[again].attempts)
    assert [*map(names, (found.problems, found.rejected))] == [
        *map(names, (spoken[again].problems, spoken[again].rejected))
    ]
    assert stream.passages[0].attempts == 1


def wait_for_all(stream: SpeechStream) -> None:
    """Until every passage has been made."""
    narrator, end = stream._narrator, monotonic() + 60
    while narrator._begun < len(narrator.plan.passages) or narrator._tasks:
        assert monotonic() < end
        sleep(0.01)


def test_a_passage_that_is_asked_for_while_it_is_spoken_again_is_its_best_attempt(short: Bark) -> None:
    endless = GenerationOptions(max_seconds=0.2, allow_early_stop=False)  # a runaway at each attempt
    arguments = LONG | {"options": endless, "narration": replace(ONCE, guards=Guards(retries=100))}
    stream = short.stream(TEXT, **arguments)
    joined(stream)
    assert all(passage.attempts < 101 for passage in stream.passages)
    wait_until_idle(short._idle_workers.kept[0])


def test_an_interrupted_stream_goes_on_with_the_same_samples(short: Bark, tmp_path: Path) -> None:
    whole = joined(short.stream(TEXT, **LONG))
    directory = tmp_path / "journal"
    stream = short.stream(TEXT, journal=directory, **LONG)
    while len(stream.passages) < 2:
        next(stream)
    stream.close()
    kept = {path.name: path.read_bytes() for path in directory.glob("0*.npz")}
    assert len(kept) >= 2
    faster = StreamOptions(playback_speed=2)  # which changes no sample
    again = short.stream(TEXT, journal=directory, streaming=faster, **LONG | {"seed": None})
    assert joined(again).tobytes() == whole.tobytes()
    assert [passage.resumed for passage in again.passages][: len(kept)] == [True] * len(kept)
    assert {name: (directory / name).read_bytes() for name in kept} == kept
    with pytest.raises(BarkError, match="journal of another job"):
        short.stream(TEXT, journal=directory, streaming=StreamOptions(chunk_seconds=0.2), **LONG)
    Journal.remove(directory)


def test_long_texts_and_short_ones_share_a_worker(short: Bark) -> None:
    expected = [joined(short.stream(text, **LONG)) for text in (TEXT, SENTENCES[0])]
    with short.worker(slots=3) as worker:
        streams = [short.stream(text, worker=worker, **LONG) for text in (TEXT, SENTENCES[0], TEXT)]
        found: list[Waveform | None] = [None] * 3

        def take(place: int) -> None:
            found[place] = joined(streams[place])

        threads = [threading.Thread(target=take, args=(place,)) for place in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for waveform, place in zip(found, (0, 1, 0), strict=True):
            assert waveform is not None
            assert waveform.tobytes() == expected[place].tobytes()
        assert worker.alive  # a stream does not close a worker that it was given
        wait_until_idle(worker)


# Texts that come piece by piece


def test_random_pieces_give_the_speech_of_the_whole_text(short: Bark) -> None:
    text = " ".join(SENTENCES)
    whole = short.stream(iter([text]), voice=VOICE, seed=5)
    expected = joined(whole)
    assert [passage.text for passage in whole.passages] == SENTENCES
    for seed in range(3):
        assert joined(short.stream(pieces(text, seed), voice=VOICE, seed=5)).tobytes() == expected.tobytes()


def test_an_asynchronous_iterator_gives_the_same(short: Bark) -> None:
    text = " ".join(SENTENCES)
    expected = joined(short.stream([text], voice=VOICE, seed=5))

    async def written() -> AsyncIterator[str]:
        for piece in pieces(text, 1):
            await asyncio.sleep(0)
            yield piece

    async def listen() -> Waveform:
        return np.concatenate([chunk.waveform async for chunk in short.stream(written(), voice=VOICE, seed=5)])

    assert asyncio.run(listen()).tobytes() == expected.tobytes()


def test_a_sentence_is_spoken_while_the_text_still_comes(short: Bark) -> None:
    more = threading.Event()

    def written() -> Iterator[str]:
        yield f"{SENTENCES[0]} The "
        assert more.wait(60)
        yield "end."

    narration = NarrationOptions(flush_seconds=3600)
    with short.stream(written(), voice=VOICE, seed=5, narration=narration) as stream:
        while not stream.passages:
            next(stream)
        assert stream.passages[0].text == SENTENCES[0]
        more.set()
        list(stream)
        assert [passage.text for passage in stream.passages] == [SENTENCES[0], "The end."]


@pytest.mark.parametrize("way", ["flush", "pause"])
def test_an_unfinished_sentence_is_spoken_after_a_flush_or_a_pause(short: Bark, way: str) -> None:
    more = threading.Event()

    def written() -> Iterator[str]:
        yield "The dog is"
        assert more.wait(60)
        yield " music"

    narration = NarrationOptions(flush_seconds=3600 if way == "flush" else 0.05)
    with short.stream(written(), voice=VOICE, seed=5, narration=narration) as stream:
        if way == "flush":
            end = monotonic() + 60
            while not stream._feed._splitter._text:  # type: ignore[union-attr]
                assert monotonic() < end
                sleep(0.001)
            stream.flush()
        while not stream.passages:
            next(stream)
        more.set()
        list(stream)
    assert [passage.text for passage in stream.passages] == ["The dog is", "music"]


def test_what_the_reader_of_the_pieces_raises_comes_after_what_was_said(short: Bark) -> None:
    def written() -> Iterator[str]:
        yield f"{SENTENCES[0]} The end "
        raise ZeroDivisionError("the line is dead")

    stream = short.stream(written(), voice=VOICE, seed=5)
    with pytest.raises(ZeroDivisionError, match="the line is dead"):
        list(stream)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ([], "the text is empty"),
        (["  \n", "..."], "the text is empty"),
        (["Hello ", 5], "the pieces of a text must be strings, not int"),
    ],
)
def test_pieces_that_say_nothing_are_an_error(short: Bark, written: Any, complaint: str) -> None:
    with pytest.raises(BarkError, match=complaint):
        list(short.stream(iter(written), voice=VOICE, seed=5))


@pytest.mark.parametrize("arguments", [{"single": True}, {"cast": {"A": VOICE}}, {"journal": "x"}])
def test_what_pieces_cannot_have_is_refused(short: Bark, arguments: dict[str, Any]) -> None:
    with pytest.raises(BarkError, match="piece by piece"):
        short.stream(iter(["Hello."]), **arguments)


def test_a_thousand_pieces_take_flat_memory(short: Bark) -> None:
    """The audio of 40 more sentences has 2 MB; what is kept is their text."""
    brief = GenerationOptions(max_seconds=0.5, allow_early_stop=False)

    def speak(sentences: int) -> int:
        text = " ".join(f"The dog is the music of the world {number}." for number in range(sentences))
        written = list(pieces(text, 1, longest=4))
        assert len(written) > 15 * sentences
        stream = short.stream(written, voice=VOICE, seed=5, options=brief)
        tracemalloc.start()
        lengths = sum(len(chunk.waveform) for chunk in stream)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (len(stream.passages), lengths > 5000 * sentences) == (sentences, True)
        return peak

    assert speak(60) - speak(20) < 700_000


def test_a_writer_is_not_read_far_ahead(short: Bark) -> None:
    written = 0

    def endless() -> Iterator[str]:
        nonlocal written
        while True:
            written += 1
            yield f"{SENTENCES[0]} "

    with short.stream(endless(), voice=VOICE, seed=5) as stream:
        next(stream)
        sleep(0.3)
        assert written < 64 + 256 + 16
    threads = {thread.name for thread in threading.enumerate()}
    end = monotonic() + 60
    while any(name.startswith("bark-onnx text") for name in threads):
        assert monotonic() < end
        sleep(0.01)
        threads = {thread.name for thread in threading.enumerate()}


# Barge-in


def test_barge_in_at_random_moments_leaves_no_row_in_use(short: Bark) -> None:
    """And tells a beginning of the text, in its order."""
    text = " ".join(SENTENCES * 3)
    random = Random(4)
    with short.worker(slots=2) as worker:
        for _ in range(10):
            source: Any = random.choice([text, pieces(text, 1), [text]])
            stream = short.stream(source, worker=worker, voice=VOICE, seed=5, narration=replace(ONCE, lookahead=2))
            taken = 0.0
            for _ in range(random.randint(0, 12)):
                chunk = next(stream, None)
                taken = taken if chunk is None else chunk.start + chunk.duration
            said = stream.stop()
            assert list(stream) == []
            wait_until_idle(worker)
            whole = (SENTENCES * 3)[: len(said)]
            told = " ".join(sentence.text for sentence in said)
            assert told == " ".join(whole)[: len(told)]
            assert all(sentence.end <= taken + 1e-9 for sentence in said)
            assert all(sentence.complete for sentence in said[:-1])


def test_stop_tells_what_was_heard_of_what_was_taken(short: Bark) -> None:
    stream = short.stream(" ".join(SENTENCES * 3), **LONG)
    while len(stream.passages) < 3:
        next(stream)
    first = stream.passages[0]
    assert [said.text for said in stream.stop(heard=first.start + 0.01)] == [first.text]
    everything = stream.stop()
    told = " ".join(said.text for said in everything)
    assert told.startswith(" ".join(passage.text for passage in stream.passages))
    assert stream.stop(heard=0) == ()
    taken = everything[-1].end
    slowly = stream.stop(speed=0.5)
    assert [said.text for said in slowly] == [said.text for said in everything]
    assert [said.start for said in slowly] == pytest.approx([2 * said.start for said in everything])
    assert stream.stop(heard=2 * first.start + 0.02, speed=0.5)[0].text == first.text
    assert slowly[-1].end == pytest.approx(2 * taken)
    with pytest.raises(BarkError, match="speed must be"):
        stream.stop(speed=9)


def test_the_passage_in_hand_is_told_with_the_rest_of_it_estimated(short: Bark) -> None:
    stream = short.stream(" ".join(SENTENCES * 3), **LONG)
    assert stream.current is None
    told = set()
    for chunk in stream:
        if stream.current is not None:
            told.add(stream.current.text)
            assert stream.current.start <= chunk.start + chunk.duration
            assert [cue.text for cue in stream.current.cues]
    assert stream.current is None
    assert told <= {passage.text for passage in stream.passages}
    assert len(told) > 1


def test_a_stopped_coroutine_stops_the_work(short: Bark) -> None:
    async def listen(worker: Worker) -> None:
        async for _ in short.stream(" ".join(SENTENCES * 8), worker=worker, **LONG):
            pass

    async def interrupt(worker: Worker) -> None:
        task = asyncio.create_task(listen(worker))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with short.worker(slots=2) as worker:
        asyncio.run(interrupt(worker))
        wait_until_idle(worker)


# Failures


def test_a_worker_that_is_closed_ends_the_stream_with_an_error(short: Bark) -> None:
    worker = short.worker(slots=2)
    stream = short.stream(" ".join(SENTENCES * 3), worker=worker, **LONG)
    next(stream)
    worker.close(finish=False)
    with pytest.raises((WorkerError, JobCancelled)):
        list(stream)


def test_a_passage_that_fails_ends_the_stream_with_its_error(short: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    from bark_onnx.long import attempts

    def broken(*_: object) -> None:
        raise BarkError("broken")

    stream = short.stream(" ".join(SENTENCES * 3), **LONG)
    next(stream)
    monkeypatch.setattr(attempts, "judge", broken)
    for _ in range(2):
        with pytest.raises(BarkError, match="broken"):
            list(stream)


def test_a_stream_is_refused_at_once(short: Bark) -> None:
    for arguments in ({"history": "wandering"}, {"voice": "nobody"}, {"worker": 5}, {"seed": -1}, {"cast": 3}):
        with pytest.raises(BarkError):
            short.stream(TEXT, **arguments)  # type: ignore[arg-type]
    with pytest.raises(BarkError, match="flush is for"):
        short.stream(TEXT, **LONG).flush()


def test_passages_are_the_texts_of_the_plan() -> None:
    assert [passage.text for passage in passages(TEXT, lambda text: len(text) <= 30)] == SAID


def test_a_later_passage_is_due_when_the_ones_before_have_been_played(
    bark: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still, so that a passage is due after the seconds of all audio before it, at the player's speed."""
    monkeypatch.setattr("bark_onnx.long.narrator.monotonic", lambda: 1000.0)
    prepare, due = Engine.prepare, list[float | None]()

    def prepared(engine: Engine, request: Request, **options: Any) -> Job:
        due.append(request.due)
        return prepare(engine, request, **options)

    monkeypatch.setattr(Engine, "prepare", prepared)
    with bark.stream(TEXT, **LONG) as stream:
        list(stream)
    first, *later = due
    assert first is None
    assert len(later) == len(stream.passages) - 1 > 1
    for passage, seconds in zip(stream.passages, np.diff([1000.0, *later]), strict=False):
        assert passage.end - passage.start <= seconds + 1e-6 < 5  # what is played of it, without silence at its edges
    due.clear()
    with bark.stream(TEXT, streaming=StreamOptions(playback_speed=4), **LONG) as stream:
        list(stream)
    assert np.diff([1000.0, *due[1:]]) == pytest.approx(np.diff([1000.0, *later]) / 4)
