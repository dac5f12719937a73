"""Workers that nobody uses, kept for the next stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from .worker import Worker


class IdleWorkers:
    """A stream takes a worker of one slot and gives it back at its end: the next one then finds its thread and caches.

    Args:
        keep: whether to keep any.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self.kept: list[Worker] = []

    @contextmanager
    def lent(self, own: Worker | None, make: Callable[[], Worker]) -> Iterator[tuple[Worker, Callable[[], None]]]:
        """A worker for a stream, and the function that the stream calls at its end.

        If the block raises, no stream was made, and the worker is given back at once.

        Args:
            own: the worker of the stream's caller, who keeps it; None takes one of these.
        """
        if own is not None:
            yield own, lambda: None
            return
        worker = self.take(make)
        release = partial(self.give_back, worker)
        try:
            yield worker, release
        except BaseException:
            release()
            raise

    def take(self, make: Callable[[], Worker]) -> Worker:
        """The worker of the stream before, or a new one that `make` makes."""
        while True:
            try:
                worker = self.kept.pop()
            except IndexError:  # no check before: another thread may take the last one
                return make()
            if worker.alive:
                return worker

    def give_back(self, worker: Worker) -> None:
        """Keep the worker of an ended stream. One is enough for streams one after another."""
        if self.kept or not self._keep or not worker.alive:
            worker.close(finish=False, wait=False)
        else:
            self.kept.append(worker)

    def close(self, *, wait: bool = True) -> None:
        """Stop the workers that are kept, and keep none from now on.

        Args:
            wait: return only when their threads have ended.
        """
        self._keep = False
        while self.kept:
            self.kept.pop().close(finish=False, wait=wait)
