"""Which jobs go first, and which streams can wait: how much audio a stream is ahead of its listener.

A listener plays a stream from its first chunk on. A stream that has made more audio than has been played by now can
wait for a while, and its listener does not notice. So when another stream has little or no audio left to play, the ones
that are ahead wait for it. The work is the same, in another order; tokens do not depend on the order.

A passage of a longer text is played after the passages before it: until it is due, its listener has audio to play.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from time import monotonic

from .job import Job

SHORT_FIRST_SECONDS = 0.25  # of audio in a first chunk; its codes are made while the other streams wait
AHEAD_SECONDS = 1.5  # a stream with so much to play can wait; the longest chunk has 1 second, by default


def lead(job: Job, now: float) -> float:
    """For how many seconds a listener has audio to play; negative since the time at which he had heard everything.

    It is minus infinity before the first chunk of a text, and infinity for a whole utterance, since nobody listens
    before its end.

    Args:
        now: in seconds of `time.monotonic`.
    """
    if job.chunked is None:
        return math.inf
    streaming, due = job.request.streaming, job.request.due
    assert streaming is not None
    if job.first_audio is None:
        return -math.inf if due is None else due - now
    begins = job.first_audio if due is None else max(due, job.first_audio)
    return job.chunked.seconds / streaming.playback_speed - (now - begins)


def ahead(jobs: Iterable[Job]) -> set[Job]:
    """The streams among these jobs that can wait; none, if all of them can."""
    now = monotonic()
    streams = {job: lead(job, now) for job in jobs if job.chunked is not None}
    if min(streams.values(), default=math.inf) >= AHEAD_SECONDS:
        return set()
    return {job for job, seconds in streams.items() if seconds >= AHEAD_SECONDS}


def opening(decoding: Mapping[int, Job]) -> dict[int, Job]:
    """The streams, among jobs by row that decode codes, whose first audio is missing and takes few steps."""
    now = monotonic()
    return {row: job for row, job in decoding.items() if lead(job, now) == -math.inf and _begins_short(job)}


def _begins_short(job: Job) -> bool:
    streaming = job.request.streaming
    return streaming is not None and not streaming.exact and streaming.first_seconds <= SHORT_FIRST_SECONDS


class ListenersFirst:
    """The order in which the jobs of a queue begin: the one whose listener has the least audio left to play.

    So streams that wait for their first audio are before later passages of texts, and whole utterances are last. After
    a job has overtaken others, the job at the front of the queue is next. So nobody waits for ever while others keep
    coming.

    Args:
        queue: to which any thread may append.
    """

    def __init__(self, queue: deque[Job]) -> None:
        self._queue = queue
        self._overtaken = False

    def next(self) -> Job:
        """The job that is next. It stays in the queue."""
        waiting, now = tuple(self._queue), monotonic()
        return waiting[0] if self._overtaken else min(waiting, key=lambda job: lead(job, now))

    def remove(self, job: Job) -> None:
        """Take the job that `next` has returned out of the queue."""
        self._overtaken = job is not self._queue[0]
        self._queue.remove(job)
