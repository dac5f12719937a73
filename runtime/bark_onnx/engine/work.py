"""Work on the graphs, and what its errors become: jobs that end.

Whatever is raised in a piece of work ends exactly the jobs that the work was for; the other jobs of the engine go on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from ..errors import BarkError
from .job import Job, JobState


class Work:
    """The work of an engine, one piece at a time.

    Attributes:
        jobs: those of the piece that is in progress. After an interrupt they stay until `end_interrupted` is called.
    """

    def __init__(self) -> None:
        self.jobs: Sequence[Job] = ()

    @contextmanager
    def on(self, stage: str, jobs: Sequence[Job]) -> Iterator[None]:
        """Run one piece of work for these jobs: the only place where graphs run.

        The seconds are divided among the jobs. If the block raises, exactly these jobs end with its error; the error
        goes no further, unless it is an interrupt of the program (KeyboardInterrupt, SystemExit).
        """
        start = perf_counter()
        self.jobs = jobs
        try:
            yield
        except BaseException as error:
            for job in jobs:
                job.end(JobState.FAILED, error=error)
            if not isinstance(error, Exception):
                raise
        finally:
            for job in jobs:
                job.timings[stage] += (perf_counter() - start) / len(jobs)
        self.jobs = ()

    def end_interrupted(self) -> None:
        """End the jobs whose run did not return: a second interrupt may even have cut off the first one's handling."""
        for job in self.jobs:
            job.end(JobState.FAILED, error=BarkError("the work on this utterance was interrupted"))
        self.jobs = ()
