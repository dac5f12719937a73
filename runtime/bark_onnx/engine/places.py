"""Where the jobs of an engine are: in a queue before a causal stage, in a row of its cache, or after both stages."""

from collections import deque

from ..model.vocabulary import CausalStage
from ..sampling.loops import Loops
from .job import Job, JobState
from .lead import ListenersFirst
from .rows import Rows


class Places:
    """The queues and rows of an engine.

    A job that streams has a row of the semantic stage and one of the coarse stage at the same time.

    Args:
        loops: of the networks.
        slots: rows of each causal stage.
    """

    def __init__(self, loops: Loops, slots: int) -> None:
        self.semantic = Rows(loops.semantic, slots)
        self.coarse = Rows(loops.coarse, slots)
        self.waiting: deque[Job] = deque()  # for a row of the semantic stage
        self.between: deque[Job] = deque()  # for a row of the coarse stage
        self.after_coarse: list[Job] = []  # the coarse stage has ended, the fine stage has not
        self.order, self._order_between = ListenersFirst(self.waiting), ListenersFirst(self.between)

    @property
    def slots(self) -> int:
        """Rows of each causal stage."""
        return self.semantic.cache.rows

    @property
    def not_begun(self) -> int:
        """Jobs in the first queue that nobody has cancelled."""
        return sum(job.state is JobState.WAITING for job in tuple(self.waiting))

    @property
    def active_rows(self) -> dict[CausalStage, int]:
        """Rows in use, by stage."""
        return {"semantic": len(self.semantic.jobs), "coarse": len(self.coarse.jobs)}

    @property
    def empty(self) -> bool:
        """Whether no job is anywhere."""
        return not (self.waiting or self.between or self.after_coarse or self.semantic.jobs or self.coarse.jobs)

    def enter_coarse(self) -> None:
        """Give the free rows of the coarse stage to jobs that wait for one."""
        while self.between and not self.coarse.full:
            job = self._order_between.next()
            self.coarse.enter(job)
            self._order_between.remove(job)

    def sweep(self) -> None:
        """Take jobs that have ended out of the rows and queues."""
        for rows in (self.semantic, self.coarse):
            for job in tuple(rows.jobs.values()):
                if job.ended:
                    rows.leave(job)
        for queue in (self.waiting, self.between, self.after_coarse):
            for job in tuple(queue):
                if job.ended:
                    queue.remove(job)
