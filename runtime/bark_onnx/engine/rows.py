"""The rows of a causal decoder's KV cache, and the job that owns each."""

from weakref import finalize

from ..sampling.loops import CausalLoop
from .job import Job


class Rows:
    """A stage's KV cache. Each row belongs to at most one job.

    Args:
        loop: the stage's loop.
        rows: how many utterances are decoded together.
    """

    def __init__(self, loop: CausalLoop, rows: int) -> None:
        self.loop = loop
        self.cache = loop.new_cache(rows)
        finalize(self, loop.release, self.cache).atexit = False
        self.jobs: dict[int, Job] = {}

    @property
    def full(self) -> bool:
        """Whether every row belongs to a job."""
        return len(self.jobs) == self.cache.rows

    @property
    def active(self) -> dict[int, Job]:
        """The jobs that have not ended, by row, in the order of the rows."""
        return {row: job for row, job in sorted(self.jobs.items()) if not job.ended}

    def enter(self, job: Job) -> int:
        """Give a job the lowest free row, so that the rows in use are neighbours; a job that has a row keeps it."""
        for row, owner in self.jobs.items():
            if owner is job:
                return row
        row = min(set(range(self.cache.rows)) - self.jobs.keys())
        self.cache.clear(row)
        self.jobs[row] = job
        return row

    def leave(self, job: Job) -> None:
        """Free the job's row, if it has one."""
        for row in [row for row, owner in self.jobs.items() if owner is job]:
            # A row between two rows in use is computed with them, at the cost of the positions that it holds.
            self.cache.clear(row)
            del self.jobs[row]
