"""What a worker does when callers meet it at an unlucky moment. All on nano."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bark_onnx import Bark, GenerationOptions, JobCancelled, Request, StreamOptions, Worker
from bark_onnx.engine.job import JobState
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
