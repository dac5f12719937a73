"""A worker: an engine on a thread of its own, for callers in other threads and in asyncio.

    with bark.worker(slots=8) as worker:
        task = worker.submit(Request("Hello"), timeout=30)
        speech = task.result()          # in asyncio: await task

The worker's thread is the only one that runs `Engine.step`. It hands over results and chunks after each step, ends jobs
whose deadline has passed, and, if it dies, reports that to everybody who waits.
"""

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from ..errors import BarkError, DeadlineExceeded, QueueFull, WorkerError
from ..model.vocabulary import CausalStage
from ..numbers import real, whole
from .counts import Counts
from .engine import Engine
from .job import Job, JobState, Request
from .task import Task

PROGRESS_SECONDS = 0.1


def checked_worker(worker: "Worker | None") -> "Worker | None":
    """A caller's worker, if there is one. Raises BarkError for anything else."""
    if worker is not None and not isinstance(worker, Worker):
        raise BarkError(f"worker must be a Worker, not {type(worker).__name__}: make one with Bark.worker")
    return worker


class Worker:
    """Owns an engine on a thread. Make one with `Bark.worker`; use it in a `with` statement, or call `close`.

    Args:
        engine: an engine that nobody else uses.
        max_waiting: requests that may wait for a free slot; `submit` refuses more with QueueFull.
    """

    def __init__(self, engine: Engine, *, max_waiting: int = 64) -> None:
        max_waiting = whole("max_waiting", max_waiting)
        if max_waiting < 1:
            raise BarkError(f"max_waiting must be at least 1, not {max_waiting}")
        self._engine = engine
        self._max_waiting = max_waiting
        self._changed = threading.Condition()  # guards the fields below
        self._tasks: dict[Job, Task] = {}  # that have not been delivered
        self._closed = False
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._serve, name="bark-onnx worker", daemon=True)
        self._thread.start()
        atexit.register(self.close, finish=False)

    # for callers

    def submit(self, request: Request, *, timeout: float | None = None, block: bool = False) -> Task:
        """Accept a request.

        Args:
            timeout: seconds from now within which it must end; its result is DeadlineExceeded after that.
            block: wait for a place in the queue instead of raising QueueFull.

        Raises:
            QueueFull: as many requests are waiting as this worker allows.
            WorkerError: the worker was closed, or its thread has died.
            BarkError: the request cannot be done: its text, voice or options are wrong.
        """
        timeout = None if timeout is None else real("timeout", timeout)
        if timeout is not None and not timeout > 0:
            raise BarkError(f"timeout must be over 0 seconds, not {timeout}")
        return self._submit(request, timeout, block=block)

    def admit(self, request: Request, *, limited: bool = False) -> Task:
        """Accept a passage of a longer text, without the warnings that are given for the whole text.

        Args:
            limited: raise QueueFull like `submit`; the passages after the first have been accepted with it.
        """
        return self._submit(request, None, limited=limited, warns=False)

    def _submit(
        self, request: Request, timeout: float | None, *, block: bool = False, limited: bool = True, warns: bool = True
    ) -> Task:
        self._check_process()
        job = self._engine.prepare(request, warns=warns)  # in the caller's thread: the engine's goes on meanwhile
        with self._changed:
            self._check()
            while limited and self._engine.waiting >= self._max_waiting:
                if not block:
                    raise QueueFull(f"{self._max_waiting} requests are waiting already: try again later")
                self._changed.wait()
                self._check()
            task = Task(job, self._cancel, None if timeout is None else monotonic() + timeout)
            try:
                self._tasks[job] = task
                self._engine.add(job)
                self._changed.notify_all()
            except BaseException:  # Ctrl-C: the caller has no task, and the worker must not wait for this job
                job.end(JobState.CANCELLED)
                raise
        return task

    def run(self, requests: Sequence[Request], progress: Callable[[Sequence[Job]], None] | None = None) -> list[Job]:
        """Submit the passages of a long text, waiting for places in the queue. Returns their jobs when all have ended.

        Args:
            progress: called with the jobs every tenth of a second.

        If a request is refused or the caller is interrupted, the others are cancelled.
        """
        tasks: list[Task] = []
        try:
            for request in requests:
                tasks.append(self._submit(request, None, block=True, warns=False))
            for task in tasks:
                while not task.wait(None if progress is None else PROGRESS_SECONDS):
                    assert progress is not None
                    progress([task.job for task in tasks])
                self._check_alive()
        finally:
            for task in tasks:
                task.cancel()  # changes nothing if it has ended
        return [task.job for task in tasks]

    def close(self, *, finish: bool = True, timeout: float | None = None, wait: bool = True) -> bool:
        """Accept nothing more, and stop the thread.

        Args:
            finish: complete what was accepted; False cancels it.
            timeout: seconds to wait for the thread; the work is then cancelled.
            wait: return only when the thread has ended.

        Returns whether everything that was accepted has been completed.
        """
        if os.getpid() != self._process:
            return False  # the thread, and perhaps who holds the lock, are in the process that this one was forked from
        with self._changed:
            self._closed = True
            tasks = [*self._tasks.values()]
            self._changed.notify_all()
        if not finish:
            for task in tasks:
                task.cancel()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(timeout)
            if self._thread.is_alive():
                for task in tasks:
                    task.cancel()
                self._thread.join()
        atexit.unregister(self.close)
        return all(task.state in (JobState.DONE, JobState.FAILED) for task in tasks)

    @property
    def alive(self) -> bool:
        """Whether the worker accepts requests. It does not in a process that was forked from its own."""
        return not self._closed and self._error is None and os.getpid() == self._process

    @property
    def waiting(self) -> int:
        """Requests that wait for a free slot."""
        return self._engine.waiting

    @property
    def counts(self) -> Counts:
        """What the engine has done so far."""
        return self._engine.counts

    @property
    def active_rows(self) -> dict[CausalStage, int]:
        """Rows of the engine in use, by stage."""
        return self._engine.active_rows

    @property
    def unfinished(self) -> int:
        """Requests that have not ended, the waiting ones included."""
        return len(self._tasks)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(finish=kind is None)

    def __repr__(self) -> str:
        state = "alive" if self.alive else "closed" if self._error is None else f"dead: {self._error!r}"
        return f"<Worker {state}: {self.waiting} waiting, {self.unfinished} unfinished>"

    def _check(self) -> None:
        """Raise WorkerError if no request can be accepted."""
        self._check_alive()
        if self._closed:
            raise WorkerError("the worker is closed: make another one")

    def _check_process(self) -> None:
        """Raise WorkerError in a forked process. Checked without the lock, which may be held for ever there."""
        if os.getpid() != self._process:
            raise WorkerError("the worker's thread is in the process that this one was forked from: make a worker here")

    def _check_alive(self) -> None:
        if self._error is not None:
            raise WorkerError(f"the worker's thread has died: {self._error!r}") from self._error

    def _cancel(self, job: Job) -> None:
        """End a job: its row is free after the run that is in progress, if one is."""
        if os.getpid() != self._process:
            return  # as in `close`
        self._engine.cancel(job)
        with self._changed:
            self._changed.notify_all()

    # the thread

    def _serve(self) -> None:
        try:
            while self._wait_for_work():
                self._end_late()
                worked = self._engine.step()
                self._deliver()
                if not worked:
                    self._check_engine()
        except BaseException as error:  # whatever it is, those who wait must hear of it
            self._die(error)

    def _wait_for_work(self) -> bool:
        """Whether there is work; waits for it, until the worker is closed."""
        with self._changed:
            while not self._tasks and not self._closed:
                self._changed.wait()
            return bool(self._tasks)

    def _check_engine(self) -> None:
        """Raise AssertionError, rather than wait for ever, if the engine has nothing to do and a job has not ended."""
        with self._changed:
            if self._engine.idle and any(not task.job.ended for task in self._tasks.values()):
                raise AssertionError("the engine is idle although a job has not ended")

    def _end_late(self) -> None:
        now = monotonic()
        for task in self._undelivered():
            if task.deadline is not None and now >= task.deadline:
                self._engine.cancel(task.job, DeadlineExceeded("the utterance did not end within its time"))

    def _deliver(self) -> None:
        ended = [task for task in self._undelivered() if task.deliver()]
        with self._changed:
            for task in ended:
                self._tasks.pop(task.job, None)
            self._changed.notify_all()  # there may be a place in the queue

    def _undelivered(self) -> list[Task]:
        with self._changed:
            return [*self._tasks.values()]

    def _die(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            tasks = [*self._tasks.values()]
            self._tasks.clear()
            self._changed.notify_all()
        for task in tasks:
            task.job.end(JobState.FAILED, error=WorkerError(f"the worker's thread has died: {error!r}"))
            task.deliver()
