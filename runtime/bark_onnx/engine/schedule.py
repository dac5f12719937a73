"""Which stage of an engine is next.

Tokens do not depend on the order of the steps. When audio comes depends on it, and how many rows each run has.
"""

from time import monotonic

from .job import Job
from .lead import ahead, lead
from .places import Places
from .stage_steps import StageSteps

# Semantic steps for each coarse step, while a listener waits for a stream's first audio, and while none does.
FIRST_AUDIO_STEPS, LATER_STEPS = 3, 1


class Schedule:
    """Chooses the steps of an engine one by one.

    Args:
        places: where the jobs are.
        steps: what there is to choose from.
    """

    def __init__(self, places: Places, steps: StageSteps) -> None:
        self._places = places
        self._steps = steps
        self._semantic_steps = 0  # since the last step of the coarse stage

    def step(self) -> bool:
        """Do the next step: audio first. False if there is nothing to do."""
        places, steps = self._places, self._steps
        places.enter_coarse()
        # Nobody waits while a job needs a row of the coarse stage: the streams that are ahead end, and free theirs.
        jobs = [*places.semantic.jobs.values(), *places.coarse.jobs.values(), *places.after_coarse]
        can_wait = set() if places.between else ahead(jobs)
        if steps.chunk(can_wait) or steps.fine():
            return True
        if self._coarse_goes_first():
            return self._coarse(can_wait) or self._semantic()
        return self._semantic() or self._coarse(can_wait)

    def _semantic(self) -> bool:
        worked = self._steps.semantic()
        self._semantic_steps += worked
        return worked

    def _coarse(self, can_wait: set[Job]) -> bool:
        worked = self._steps.coarse(can_wait)
        if worked:
            self._semantic_steps = 0
        return worked

    def _coarse_goes_first(self) -> bool:
        """Whether the coarse stage runs before the semantic stage.

        Whole utterances gather before the coarse stage, so that it runs with all rows. Utterances that stream wait for
        nobody; but while a job's coarse stage waits for semantic tokens, the semantic stage gets every second step, and
        more of them if a listener waits for a stream's first audio.
        """
        places = self._places
        active = places.coarse.active.values()
        if not any(job.request.streaming for job in active):
            return places.coarse.full
        moving = {id(job) for job in active if job.coarse.in_window or job.coarse.can_begin}
        urgent = [job for job in [*places.semantic.active.values(), *places.waiting] if id(job) not in moving]
        now = monotonic()
        first = any(job.first_audio is None and lead(job, now) <= 0 for job in urgent)
        return self._semantic_steps >= (FIRST_AUDIO_STEPS if first else LATER_STEPS if urgent else 0)
