"""Workers and streams when threads meet at an unlucky moment. All on nano."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, JobCancelled, Request, StreamOptions, Worker
from bark_onnx.engine.job import Job, JobState
from bark_onnx.engine.task import Task

SHORT = Request("Hello.", options=GenerationOptions(max_seconds=0.2), seed=1)
LONG = GenerationOptions(max_seconds=5, allow_early_stop=False)


@pytest.fixture(scope="module")
def nano() -> Iterator[Bark]:
    with Bark.load(device="cpu", threads=1) as bark:
        yield bark


@pytest.fixture
def worker(nano: Bark) -> Iterator[Worker]:
    worker = nano.worker(slots=1)
    yield worker
    worker.close(finish=False)


def test_a_job_that_is_cancelled_while_results_are_delivered_is_delivered(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has just seen that it has nothing to deliver; then another thread cancels."""
    real, cancelled = Task.deliver, []

    def deliver(task: Task) -> bool:
        ended = real(task)
        if not cancelled and not ended:
            cancelled.append(task)
            task.cancel()
        return ended

    monkeypatch.setattr(Task, "deliver", deliver)
    task = worker.submit(SHORT)
    with pytest.raises(JobCancelled):
        task.result(30)
    assert cancelled == [task]
    assert worker.submit(SHORT).result(30).seed == 1


def test_a_cancelled_coroutine_leaves_others_that_wait_for_the_same_task(worker: Worker) -> None:
    """They get JobCancelled, and not the cancellation of the coroutine, which is not theirs."""
    task = worker.submit(Request("Hello.", options=LONG))

    async def speech() -> Any:
        return await task

    async def main() -> list[Any]:
        one, other = asyncio.create_task(speech()), asyncio.create_task(speech())
        await asyncio.sleep(0)  # they have begun to wait
        while task.state is JobState.WAITING:
            await asyncio.sleep(0.001)
        one.cancel()
        return await asyncio.gather(one, other, return_exceptions=True)

    one, other = asyncio.run(main())
    assert isinstance(one, asyncio.CancelledError)
    assert isinstance(other, JobCancelled)


def test_a_cancelled_coroutine_leaves_a_thread_that_takes_chunks_of_the_same_task(worker: Worker) -> None:
    task = worker.submit(Request("Hello.", options=LONG, streaming=StreamOptions(first_seconds=5)))
    raised: list[BaseException] = []

    def take() -> None:
        try:
            list(task.chunks(30))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=take)
    thread.start()

    async def chunks() -> None:
        async for _ in task:
            pass

    async def main() -> None:
        consumer = asyncio.create_task(chunks())
        await asyncio.sleep(0)  # they have begun to wait
        while task.state is JobState.WAITING:
            await asyncio.sleep(0.001)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer

    asyncio.run(main())
    thread.join(30)
    assert [type(error) for error in raised] == [JobCancelled]


def test_ctrl_c_while_a_request_is_submitted_leaves_the_worker_alive(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(job: Job) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker._engine, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            worker.submit(SHORT)
    assert worker.submit(SHORT).result(30).seed == 1
    assert worker.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_that_is_forked_while_a_lock_is_held_does_not_wait_for_it(worker: Worker) -> None:
    """Another thread holds the lock at that moment, and is not in the new process."""
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with worker._changed:
            held.set()
            forked.wait(30)

    task = worker.submit(SHORT)
    task.result(30)
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    read, write = os.pipe()
    if os.fork() == 0:
        signal.alarm(20)  # rather than wait for ever
        try:
            worker.submit(SHORT)
        except BarkError as error:
            task.cancel()
            os.write(write, f"{error}; closed: {worker.close()}".encode())
        os._exit(0)
    forked.set()
    os.close(write)
    with os.fdopen(read) as file:
        message = file.read()
    os.wait()
    thread.join(30)
    assert message.endswith("make a worker here; closed: False")


# Streams in several threads


def test_two_threads_take_chunks_of_one_stream(nano: Bark) -> None:
    """Each chunk goes to one of them, and none is lost."""
    request: dict[str, Any] = {
        "options": GenerationOptions(max_seconds=0.3, allow_early_stop=False),
        "streaming": StreamOptions(chunk_seconds=0.1),
        "seed": 1,
    }
    expected = [chunk.start for chunk in nano.stream("Hello.", **request)]
    for _ in range(3):
        stream, taken = nano.stream("Hello.", **request), []
        threads = [threading.Thread(target=lambda: taken.extend(list(stream))) for _ in range(4)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(chunk.start for chunk in taken) == expected


def test_two_threads_begin_a_stream_when_one_worker_is_idle(nano: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    class JustTaken(list[Worker]):
        def __len__(self) -> int:
            return 1  # when this thread looked, there was one

    monkeypatch.setattr(nano._idle_workers, "kept", JustTaken())
    assert list(nano.stream("Hello.", options=SHORT.options, seed=1))
