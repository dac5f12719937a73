"""Streams whose caller, text or worker fails: nobody waits for ever, and nothing is left behind."""

import asyncio
import gc
import itertools
import os
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from bark_onnx import Bark, BarkError, BarkWarning, Guards, NarrationOptions, SpeechStream, StreamOptions, WorkerError
from bark_onnx.engine.places import Places
from bark_onnx.long.narrator import Narrator
from bark_onnx.splitting.passages import estimate_seconds
from bark_onnx.splitting.pieces import PieceSplitter
from passages import SPACE
from voices import make_voice

VOICE = make_voice(SPACE, seed=3)
ONCE = NarrationOptions(passage_seconds=2, guards=Guards(retries=0), flush_seconds=0.05)
LONG: dict[str, Any] = {"voice": VOICE, "seed": 5, "narration": ONCE}
SENTENCE = "The dog of the world is the laughter of the dogs. "


def within(seconds: float, work: Callable[[], object]) -> Any:
    """What `work` returns or raises in a thread of its own. Fails if that takes longer."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, "it waits for ever"
    return results[0]


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def wait_until_prepared(stream: SpeechStream) -> None:
    """Wait until the worker has nothing to do for a stream before more of it is taken."""
    end = monotonic() + 30
    while True:
        with stream._narrator._lock:  # between two passages there are no tasks either, for a moment
            if not stream._narrator._tasks:
                return
        assert monotonic() < end
        sleep(0.01)


# Texts that come piece by piece


async def asynchronous() -> AsyncIterator[str]:
    yield SENTENCE


async def cancelled() -> AsyncIterator[str]:
    yield SENTENCE
    raise asyncio.CancelledError


class NotAnIterator:
    def __aiter__(self) -> Any:
        return 3


def test_asynchronous_pieces_are_not_taken_with_for(short: Bark) -> None:
    error = within(20, lambda: list(short.stream(asynchronous(), **LONG)))
    assert isinstance(error, BarkError)
    assert "async for" in str(error)


@pytest.mark.parametrize(("pieces", "kind"), [(NotAnIterator, TypeError), (cancelled, BarkError)])
def test_asynchronous_pieces_that_fail(short: Bark, pieces: Callable[[], Any], kind: type[Exception]) -> None:
    async def take() -> None:
        async for _ in short.stream(pieces(), **LONG):
            pass

    assert isinstance(within(20, lambda: asyncio.run(take())), kind)


def test_a_warning_that_is_an_error_ends_the_text(short: Bark) -> None:
    """It is raised when the text is flushed, in the thread that splits the text."""
    more = threading.Event()

    def pieces() -> Iterator[str]:
        yield "The dog of the ⌘⌘⌘"
        more.wait(20)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = within(10, lambda: list(short.stream(pieces(), **LONG)))
    more.set()
    assert isinstance(error, BarkWarning)


def test_a_reader_does_not_wait_for_a_splitter_that_has_ended(short: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is closed while the queue between them is full."""
    closed = threading.Event()

    def pieces() -> Iterator[str]:
        try:
            while True:
                yield "dog "
        finally:
            closed.set()

    push, full = PieceSplitter.push, threading.Event()

    def slow(self: PieceSplitter, piece: str) -> Any:
        full.wait(20)
        return push(self, piece)

    monkeypatch.setattr(PieceSplitter, "push", slow)
    stream = short.stream(pieces(), **LONG)
    sleep(0.2)  # the reader has filled the queue
    stream.close()
    full.set()
    assert closed.wait(20)


def test_white_space_without_end_takes_no_memory() -> None:
    splitter = PieceSplitter(lambda text: estimate_seconds(text) <= 13)
    splitter.push("The dog")
    for _ in range(100):
        splitter.push(" \t" * 1000)
    assert len(splitter._text) < 100
    splitter.push("\n of the world")
    assert [passage.text for passage in splitter.flush().passages] == ["The dog of the world"]


# Threads


def test_a_stream_does_not_wait_for_a_run_of_somebody_else(short: Bark) -> None:
    """`generate` holds the networks for as long as it works. Chunks that are ready are given out meanwhile."""
    stream = short.stream(SENTENCE * 8, **LONG)
    next(stream)
    wait_until_prepared(stream)
    with short._networks.lock:
        chunks = within(20, lambda: [next(stream) for _ in range(4)])
        assert len(chunks) == 4
        assert within(20, stream.stop)


def test_the_garbage_collector_drops_streams_in_the_midst_of_a_step(
    short: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in any thread, also where the engine looks through its queues and holds its locks."""

    class Cycle:
        def __init__(self, stream: SpeechStream) -> None:
            self.stream, self.itself = stream, self

    sweep, sweeps = Places.sweep, itertools.count()

    def collected(self: Places) -> None:
        if next(sweeps) % 16:  # a collection takes long among the objects of a whole test run
            sweep(self)
            return
        with monkeypatch.context() as patch:
            patch.setattr(Places, "sweep", sweep)
            gc.collect()
            sweep(self)

    gc.collect()
    gc.freeze()  # what other tests hold is not looked through each time
    try:
        with short.worker(slots=2) as worker:
            monkeypatch.setattr(Places, "sweep", collected)
            for seed in range(8):
                dropped = Cycle(short.stream(SENTENCE * 4, voice=VOICE, seed=seed, narration=ONCE, worker=worker))
                del dropped
            chunks = within(120, lambda: list(short.stream(SENTENCE * 2, worker=worker, **LONG)))
            assert isinstance(chunks, list)
            assert worker.alive
    finally:
        gc.unfreeze()


def test_a_dropped_stream_does_not_wait_for_a_lock_for_ever(short: Bark) -> None:
    """As if the garbage collector dropped it in a thread that holds a lock of the stream's work."""
    stream = short.stream(SENTENCE * 4, **LONG)
    narrator = stream._narrator
    held, dropped = threading.Event(), threading.Event()

    def hold() -> None:
        with narrator._lock:
            held.set()
            dropped.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    del stream
    dropped.set()
    thread.join(20)
    end = monotonic() + 20
    while not narrator.ended:
        assert monotonic() < end
        sleep(0.01)


def test_a_stream_is_stopped_from_a_thread_without_the_event_loop(short: Bark) -> None:
    """With asyncio's checks, which refuse to cancel a task from another thread."""

    async def pieces() -> AsyncIterator[str]:
        yield SENTENCE
        await asyncio.sleep(60)

    async def take() -> int:
        stream = short.stream(pieces(), **LONG)
        taken = 0
        async for _ in stream:
            taken += 1
            await asyncio.to_thread(stream.stop)
        return taken

    assert within(20, lambda: asyncio.run(take(), debug=True)) == 1


def test_a_worker_that_died_is_not_used_again(short: Bark) -> None:
    list(short.stream("Hello world.", **LONG))
    idle = short._idle_workers.kept[-1]
    idle._engine.step = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(WorkerError, match="died"):
        list(short.stream("Hello world.", **LONG))
    assert list(short.stream("Hello world.", **LONG))


# Ctrl-C


@pytest.mark.parametrize("place", ["_give", "_begin"])
def test_a_stream_ends_if_ctrl_c_comes_between_two_passages(
    short: Bark, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was lost then would be missing. So whoever goes on to iterate gets the end or an error."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    stream = short.stream(SENTENCE * 8, streaming=StreamOptions(exact=True), **LONG)
    next(stream)
    wait_until_prepared(stream)  # the next passage is begun in this thread
    with monkeypatch.context() as patch:
        patch.setattr(Narrator, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(stream)
    with pytest.raises((StopIteration, BarkError)):
        next(stream)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process")  # it has threads, as a forked one should not
def test_a_forked_process_does_not_wait_for_a_stream_of_its_parent(short: Bark) -> None:
    with short.stream(SENTENCE * 4, **LONG) as stream:
        next(stream)
        read, write = os.pipe()
        if not os.fork():
            try:
                list(stream)
            except BarkError as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as told:
            assert "make a stream here" in told.read()
        os.wait()
