"""A worker: one thread works, many callers wait, in threads and in asyncio; each gets the tokens that it gets alone."""

import asyncio
import gc
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, BatchError, JobCancelled, QueueFull, Request, StreamOptions, Worker, WorkerError
from bark_onnx.engine.job import JobState
from bark_onnx.engine.places import Places
from bark_onnx.engine.task import Task
from bark_onnx.errors import DeadlineExceeded
from bark_onnx.long.plan import NarrationOptions
from utterances import FULL, TEXT, TOLERANCE, Alone, is_empty, lasting
from voices import make_voice

LONG = Request(TEXT, options=lasting(700), seed=1)
STREAM = Request(TEXT, options=lasting(270), seed=8, streaming=StreamOptions(first_seconds=0.3, chunk_seconds=0.5))


@pytest.fixture
def worker(bark: Bark) -> Iterator[Worker]:
    with bark.worker(slots=2, max_waiting=3) as worker:
        yield worker
        worker.close(finish=False)
    assert is_empty(worker._engine)


def assert_same(task: Task, expected: Alone) -> None:
    speech = task.result(60)
    np.testing.assert_array_equal(speech.tokens.fine, expected.speech.tokens.fine)
    np.testing.assert_allclose(speech.waveform, expected.speech.waveform, rtol=0, atol=TOLERANCE)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Blocked:
    """Holds the worker's thread before its next step until it is let go."""

    def __init__(self, worker: Worker, patch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        real = worker._engine.step

        def step() -> bool:
            self.reached.set()
            assert self.go.wait(30)
            return real()

        patch.setattr(worker._engine, "step", step)


# Results


def test_many_threads_get_what_they_get_alone(bark: Bark, alone: list[Alone]) -> None:
    with bark.worker(slots=3, max_waiting=1) as worker:
        failures: list[BaseException] = []

        def caller(order: list[int]) -> None:
            try:
                for which in order:
                    assert_same(worker.submit(alone[which].request, block=True), alone[which])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=caller, args=([(n + k) % 9 for k in range(3)],)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failures == []
        assert worker.unfinished == 0
    assert is_empty(worker._engine)


def test_chunks_come_before_the_end(worker: Worker, alone: list[Alone]) -> None:
    task = worker.submit(alone[7].request)
    states, chunks = [], []
    for chunk in task.chunks(timeout=30):
        states.append(task.done())
        chunks.append(chunk)
    assert not states[0]
    assert [chunk.start for chunk in chunks] == alone[7].starts
    np.testing.assert_array_equal(np.concatenate([chunk.waveform for chunk in chunks]), task.result().waveform)
    assert list(task.chunks()) == []
    assert task.seed == 8


def test_asyncio(worker: Worker, alone: list[Alone]) -> None:
    async def main() -> tuple[Any, Any, Any]:
        whole, streaming = worker.submit(alone[1].request), worker.submit(alone[7].request)
        chunks = [chunk async for chunk in streaming]
        return await whole, await streaming, chunks

    whole, streaming, chunks = asyncio.run(main())
    np.testing.assert_array_equal(whole.tokens.fine, alone[1].speech.tokens.fine)
    np.testing.assert_array_equal(streaming.tokens.fine, alone[7].speech.tokens.fine)
    assert [chunk.start for chunk in chunks] == alone[7].starts


@pytest.mark.parametrize("streaming", [False, True])
def test_a_coroutine_that_is_cancelled_cancels_its_utterance(
    worker: Worker, alone: list[Alone], streaming: bool
) -> None:
    task = worker.submit(STREAM if streaming else LONG)

    async def consume() -> None:
        if streaming:
            async for _ in task:
                pass
        else:
            await task

    async def main() -> None:
        consumer = asyncio.create_task(consume())
        await asyncio.sleep(0)  # it has begun to wait
        while task.state is JobState.WAITING:
            await asyncio.sleep(0.001)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer

    asyncio.run(main())
    with pytest.raises(JobCancelled):
        task.result(10)
    assert task.state is JobState.CANCELLED
    until(lambda: worker.unfinished == 0)
    assert_same(worker.submit(alone[1].request), alone[1])


def test_errors_of_a_request(worker: Worker, alone: list[Alone]) -> None:
    for request, complaint in ((Request(" "), "empty"), (Request(TEXT, voice="nobody"), "no voice 'nobody'")):
        with pytest.raises(BarkError, match=complaint):
            worker.submit(request)
    with pytest.raises(BarkError, match="timeout must be over 0"):
        worker.submit(LONG, timeout=0)
    assert worker.unfinished == 0
    assert_same(worker.submit(alone[1].request), alone[1])


# Limits


def test_a_full_queue_refuses(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(worker, monkeypatch)
    tasks = [worker.submit(LONG)]
    assert blocked.reached.wait(10)
    tasks += [worker.submit(LONG) for _ in range(2)]
    assert worker.waiting == 3
    with pytest.raises(QueueFull, match="3 requests are waiting"):
        worker.submit(LONG)
    waiter = threading.Thread(target=lambda: tasks.append(worker.submit(LONG, block=True)))
    waiter.start()
    time.sleep(0.05)
    assert waiter.is_alive()
    blocked.go.set()
    waiter.join(30)
    assert len(tasks) == 4
    for task in tasks:
        task.cancel()


def test_a_deadline(worker: Worker, alone: list[Alone]) -> None:
    """Of an utterance that is being generated, and of one that waits."""
    start = time.monotonic()
    tasks = [worker.submit(LONG, timeout=0.2) for _ in range(3)]
    for task in tasks:
        with pytest.raises(DeadlineExceeded):
            task.result(30)
    assert time.monotonic() - start >= 0.2
    assert [task.state for task in tasks] == [JobState.FAILED] * 3
    assert_same(worker.submit(alone[1].request, timeout=60), alone[1])


def test_result_can_give_up_waiting(worker: Worker) -> None:
    task = worker.submit(LONG)
    with pytest.raises(TimeoutError, match=r"^nothing came within 0\.01 s, and the work goes on: wait again, or"):
        task.result(0.01)
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        next(task.chunks(0.01))
    assert not task.wait(0.01)
    assert not task.done()
    task.cancel()
    assert task.wait(30)


def test_an_utterance_that_failed_with_a_timeout_keeps_its_error(worker: Worker) -> None:
    """It ended, so the advice to wait again would be wrong."""
    task = worker.submit(LONG)
    task._result = Future()
    task._result.set_exception(TimeoutError("of something else"))
    with pytest.raises(TimeoutError, match="of something else"):
        task.result(1)
    task.cancel()


@pytest.mark.parametrize("when", ["waiting", "generating", "ended"])
def test_cancel(worker: Worker, alone: list[Alone], when: str) -> None:
    others = [worker.submit(alone[n].request) for n in (2, 3)]
    task = worker.submit(alone[1].request)
    if when == "generating":
        until(lambda: task.state is not JobState.WAITING)
    elif when == "ended":
        task.result(60)
    task.cancel()
    if when == "ended":
        assert_same(task, alone[1])
    else:
        with pytest.raises(JobCancelled):
            task.result(30)
    for other, expected in zip(others, (alone[2], alone[3]), strict=True):
        assert_same(other, expected)


# The end


def test_close_finishes_what_was_accepted(bark: Bark, alone: list[Alone]) -> None:
    worker = bark.worker(slots=1)
    tasks = [worker.submit(alone[n].request) for n in (1, 2, 3)]
    assert worker.close()
    for task, expected in zip(tasks, alone[1:4], strict=True):
        assert_same(task, expected)
    assert not worker.alive
    with pytest.raises(WorkerError, match="closed"):
        worker.submit(LONG)
    assert worker.close()


@pytest.mark.parametrize("how", ["cancel", "timeout", "exception"])
def test_close_cancels(bark: Bark, how: str) -> None:
    worker = bark.worker(slots=1)
    tasks = [worker.submit(LONG) for _ in range(3)]
    if how == "exception":
        with pytest.raises(ZeroDivisionError), worker:
            raise ZeroDivisionError
    else:
        assert not (worker.close(finish=False) if how == "cancel" else worker.close(timeout=0.05))
    for task in tasks:
        with pytest.raises(JobCancelled):
            task.result(1)
    assert is_empty(worker._engine)
    assert not worker._thread.is_alive()


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), SystemExit(3)])
def test_the_death_of_the_thread_reaches_everybody(
    bark: Bark, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = bark.worker(slots=1)
    real, all_submitted = Places.sweep, threading.Event()

    def sweep(places: Places) -> None:
        if all_submitted.is_set() and threading.current_thread() is worker._thread:
            raise error
        real(places)

    monkeypatch.setattr(Places, "sweep", sweep)
    tasks = [worker.submit(STREAM), worker.submit(LONG), worker.submit(LONG)]
    all_submitted.set()
    for task in tasks:
        with pytest.raises(WorkerError, match="has died"):
            task.result(30)
    with pytest.raises(WorkerError, match="has died"):
        list(tasks[0].chunks(30))
    with pytest.raises(WorkerError, match="has died"):
        worker.submit(LONG)
    with pytest.raises(WorkerError, match="has died"):
        worker.run([LONG])
    assert not worker.alive
    assert "dead" in repr(worker)
    worker.close()


def test_a_forked_process_is_told_to_make_a_worker_of_its_own(worker: Worker) -> None:
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            worker.submit(LONG)
            message = "accepted"
        except BarkError as error:
            message = str(error)
        os.write(write, message.encode())
        os._exit(0)
    os.close(write)
    assert b"make a worker here" in os.read(read, 1000)
    os.close(read)
    os.wait()


def test_nothing_is_kept_of_what_has_ended(worker: Worker, alone: list[Alone]) -> None:
    def objects() -> int:
        gc.collect()
        return sum(isinstance(one, Task) for one in gc.get_objects())

    before = objects()
    for _ in range(3):
        worker.submit(alone[1].request).result(30)
    until(lambda: worker.unfinished == 0)
    assert objects() == before


# Long texts, and other callers of the same Bark


def test_a_long_text_beside_other_requests(bark: Bark, alone: list[Alone]) -> None:
    """Its passages are those of a job of its own, and the others' tokens those that they get alone."""
    text, voice = (
        "Hello world. The dog is music! Of the world. Is the music laughing? Hello.",
        make_voice(bark.vocabulary, FULL),
    )
    arguments: dict[str, Any] = {
        "voice": voice, "options": lasting(30), "seed": 4, "narration": NarrationOptions(passage_seconds=2)
    }  # fmt: skip
    expected = list(bark.generate_long(text, **arguments))
    assert len(expected) > 2
    with bark.worker(slots=2, max_waiting=1) as worker:
        others = [worker.submit(alone[n].request, block=True) for n in (6, 1)]
        spoken = list(bark.generate_long(text, worker=worker, **arguments))
        for other, own in zip(others, (alone[6], alone[1]), strict=True):
            assert_same(other, own)
    for one, own in zip(spoken, expected, strict=True):
        assert (one.text, one.seed, one.start, one.end) == (own.text, own.seed, own.start, own.end)
        np.testing.assert_allclose(one.waveform, own.waveform, rtol=0, atol=1e-4)


def test_one_bark_in_several_threads(bark: Bark, alone: list[Alone]) -> None:
    """Whole utterances, streams, stages and a worker at the same time: calls wait for each other."""
    failures: list[BaseException] = []
    expected = alone[2]
    options, voice, seed = expected.request.options, expected.request.voice, expected.request.seed

    def whole() -> None:
        speech = bark.generate(expected.request.text, voice=voice, options=options, seed=seed)
        np.testing.assert_array_equal(speech.tokens.fine, expected.speech.tokens.fine)

    def stages() -> None:
        semantic = bark.semantic(expected.request.text, voice=voice, options=options, seed=seed)
        coarse = bark.coarse(semantic, voice=voice, options=options, seed=seed)
        np.testing.assert_array_equal(coarse, expected.speech.tokens.coarse)

    def streaming() -> None:
        stream = bark.stream(TEXT, voice=voice, options=lasting(270), seed=8)
        chunks = list(stream)
        assert stream.speech is not None
        np.testing.assert_array_equal(np.concatenate([c.waveform for c in chunks]), stream.speech.waveform)
        assert len(stream.speech.tokens.semantic) == 270

    def batch() -> None:
        speech, _ = bark.generate_batch([expected.request, alone[1].request])
        np.testing.assert_array_equal(speech.tokens.fine, expected.speech.tokens.fine)

    def guarded(call: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                call()
            except BaseException as error:
                failures.append(error)

        return run

    with bark.worker(slots=2) as worker:
        task = worker.submit(expected.request)
        threads = [threading.Thread(target=guarded(call)) for call in (whole, stages, streaming, batch) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert_same(task, expected)
    assert failures == []


def test_a_batch_error_can_be_pickled(bark: Bark) -> None:
    """With the results that it holds."""
    with pytest.raises(BatchError) as raised:
        bark.generate_batch([Request(TEXT, voice="nobody"), Request(TEXT, options=lasting(9), seed=1)])
    copy = pickle.loads(pickle.dumps(raised.value))
    assert "request 0: no voice 'nobody'" in str(copy)
    assert str(copy) == str(raised.value)
    assert copy.speeches[0] is None
    np.testing.assert_array_equal(copy.speeches[1].waveform, raised.value.speeches[1].waveform)
