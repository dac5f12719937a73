"""A task: the handle of an utterance that another thread generates, for threads and for asyncio."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from .job import Job, JobState
from .speech import Speech
from .stream import AudioChunk


class Task:
    """An utterance that a worker generates. Its methods may be called from any thread.

    In asyncio, `await task` returns the Speech and `async for chunk in task` takes the chunks; cancelling the coroutine
    that awaits a task cancels the task.

    Args:
        job: the job in the worker's engine.
        cancel: ends the job, wherever it is.
        deadline: when the worker ends the job, in seconds of `time.monotonic`; None: never.
    """

    def __init__(self, job: Job, cancel: Callable[[Job], None], deadline: float | None) -> None:
        self._job = job
        self._cancel = cancel
        self.deadline = deadline  # of time.monotonic()
        self._result: Future[Speech] = Future()
        self._news: Future[None] = Future()  # done when chunks have come or the job has ended, and then replaced
        self._lock = threading.Lock()

    @property
    def seed(self) -> int:
        """The seed that generates the same tokens again."""
        return self._job.seed

    @property
    def state(self) -> JobState:
        """Where the utterance is."""
        return self._job.state

    @property
    def job(self) -> Job:
        """The job in the engine; while it has not ended, only the worker's thread may change it."""
        return self._job

    def done(self) -> bool:
        """Whether the result, or the error, is there."""
        return self._result.done()

    def cancel(self) -> None:
        """Stop the work. `result` then raises JobCancelled; nothing happens if the task has ended."""
        self._cancel(self._job)

    def result(self, timeout: float | None = None) -> Speech:
        """Wait for the speech.

        Raises the error of a failed utterance: BarkError, JobCancelled, DeadlineExceeded, WorkerError. Raises
        TimeoutError after `timeout` seconds; the work goes on then.
        """
        try:
            return self._result.result(timeout)
        except TimeoutError:
            if self._result.done():
                raise  # the utterance's own error
            raise _still_working(timeout) from None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the utterance has ended, however it did; False after `timeout` seconds."""
        with suppress(TimeoutError):
            self._result.exception(timeout)
        return self.done()

    def chunks(self, timeout: float | None = None) -> Iterator[AudioChunk]:
        """The chunks of a streaming request, as they come; a request that does not stream has none.

        Args:
            timeout: seconds to wait for one chunk; TimeoutError after that.

        Raises the error of a failed utterance after the chunks that were made before it.
        """
        while (chunk := self.poll()) is not None:
            if isinstance(chunk, AudioChunk):
                yield chunk
            else:
                try:
                    chunk.result(timeout)
                except TimeoutError:
                    raise _still_working(timeout) from None

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        try:
            while (chunk := self.poll()) is not None:
                if isinstance(chunk, AudioChunk):
                    yield chunk
                else:
                    await wait_for(chunk)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def __await__(self) -> Generator[Any, None, Speech]:
        return self._speech().__await__()

    async def _speech(self) -> Speech:
        try:
            await wait_for(self._result)
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.result()

    def __repr__(self) -> str:
        return f"<Task {self._job!r}>"

    def poll(self) -> AudioChunk | Future[None] | None:
        """The next chunk; or what to wait for; or None after the last. Raises the job's error after its last chunk."""
        with self._lock:
            if self._job.chunks:
                return self._job.chunks.popleft()
            if not self._result.done():
                return self._news
        self.result()
        return None

    def deliver(self) -> bool:
        """Tell everybody who waits what is there. The worker's thread calls this after each step.

        Returns whether the end of the job has been told. `Job.ended` may be newer: another thread may cancel the job.
        """
        ended = self._job.ended
        if not ended and not self._job.chunks:
            return False
        with self._lock:
            news, self._news = self._news, Future()
            if ended and not self._result.done():
                trace = None if self._job.error is None else self._job.error.__traceback__
                try:
                    self._result.set_result(self._job.result())
                except Exception as error:
                    # Without the frame of this call, which refers to this task: else the error, the task, the job and
                    # its arrays would be in a circle, and stay until the garbage collector comes.
                    self._result.set_exception(error.with_traceback(trace))
        news.set_result(None)  # without the lock: whoever is told may ask for the next chunk at once
        return ended


def _still_working(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"nothing came within {timeout} s, and the work goes on: wait again, or cancel the task")


async def wait_for(future: Future[Any]) -> None:
    """Wait until a future is done.

    A coroutine that is cancelled here does not cancel the future, as `asyncio.wrap_future` would: others may wait for
    it too.
    """
    own: Future[None] = Future()

    def wake(_: Future[Any]) -> None:
        if own.set_running_or_notify_cancel():
            own.set_result(None)

    future.add_done_callback(wake)
    await asyncio.wrap_future(own)
