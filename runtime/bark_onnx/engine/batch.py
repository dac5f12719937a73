"""A batch: requests that are spoken together on an engine, and whose results come in their order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import BarkError
from ..progress import ProgressOption, counted
from .engine import Engine
from .job import Job, Request
from .speech import Speech


class BatchError(BarkError):
    """Some utterances of a batch failed.

    Args:
        errors: the error of each that failed, by its index in the batch.
        speeches: the results of the others, and None for those that failed.
    """

    def __init__(self, errors: Mapping[int, BaseException], speeches: Sequence[Speech | None]) -> None:
        first = min(errors)
        super().__init__(f"{len(errors)} of {len(speeches)} utterances failed; request {first}: {errors[first]}")
        self.errors = errors
        self.speeches = speeches

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors, self.speeches)


def checked_requests(requests: Iterable[Request]) -> list[Request]:
    """A caller's requests as a list. Raises BarkError for a single one, or a text."""
    if isinstance(requests, str | Request) or not isinstance(requests, Iterable):
        raise BarkError(f"requests must be a list of Request, not {type(requests).__name__}")
    return list(requests)


def speak_batch(engine: Engine, requests: Sequence[Request], progress: ProgressOption) -> list[Speech]:
    """Speak requests together. Raises BatchError if some were refused or failed, when the others have ended."""
    jobs: dict[int, Job] = {}
    errors: dict[int, BaseException] = {}
    for index, request in enumerate(requests):
        try:
            jobs[index] = engine.submit(request)
        except BarkError as error:
            errors[index] = error
    with counted("batch", len(requests), progress) as count:
        engine.work([*jobs.values()], lambda working: count(sum(job.ended for job in working)))
    errors |= {index: job.error for index, job in jobs.items() if job.error is not None}
    speeches = [jobs[index].speech if index in jobs else None for index in range(len(requests))]
    if errors:
        raise BatchError(errors, speeches)
    return [speech for speech in speeches if speech is not None]
