"""Long texts whole: passages are spoken one by one or in blocks, checked, joined to the passage before, and timed.

The plan fixes which passages are spoken together, in a block. A job that was interrupted speaks an unfinished block
again from its beginning. Its result is that of a job that was never stopped, since a passage is the same whatever is
spoken beside it.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from ..arrays import Waveform
from ..engine.job import Job, Request
from ..engine.speech import Speech
from ..progress import ProgressOption, counted
from ..splitting.passages import estimate_seconds
from ..stages.semantic import token_limit
from .attempts import Attempts, Context, Outcome
from .joining import Joiner
from .journal import Journal, Record
from .plan import Plan
from .spoken import LongSpeech, SpokenPassage
from .trimming import Trimmer

T = TypeVar("T")

Steps: TypeAlias = Generator[Sequence[Request], Sequence[Job], T]
"""Work for an engine that belongs to the caller. It yields requests and is sent their jobs when all of them have ended;
in the end it returns its result. The requests may run beside any others."""


class Runner(Protocol):
    """An engine, or a worker that owns one."""

    def run(self, requests: Sequence[Request], progress: Callable[[Sequence[Job]], None] | None = None) -> list[Job]:
        """Generate these utterances together and return their jobs when all have ended."""


def narrate(
    context: Context, runner: Runner, journal: Journal | None, progress: ProgressOption
) -> Iterator[SpokenPassage]:
    """Speak a plan, passage after passage. Passages that the journal holds already are taken from there.

    Args:
        progress: is told how many seconds of speech have been made so far, of those that are expected.
    """
    plan, vocabulary = context.plan, context.vocabulary
    joined = _Joined(plan, vocabulary.sample_rate)
    expected = [estimate_seconds(passage.text) for passage in plan.passages]
    block = range(0)
    with counted("speech", plan.expected_seconds, progress) as count:
        while block.stop < len(plan.passages):
            block = plan.block(block.stop, voiced=context.first is not None)
            done, own = sum(expected[: block.start]), expected[block.start : block.stop]
            kept = [None if journal is None else journal.load(index, vocabulary) for index in block]
            resumed = None not in kept
            records = [record for record in kept if record is not None]
            if not resumed:
                steps = speak_together([context.attempts(index) for index in block])
                records = _run(steps, runner, _counted(count, done, own))
                if journal is not None:
                    for index, record in zip(block, records, strict=True):
                        journal.save(index, record)
            for index, record in zip(block, records, strict=True):
                context.add(index, record)
                yield joined.passage(index, record, resumed=resumed)
            count(done + sum(own))


def speak_checked(context: Context, speak: Callable[[Request], Speech]) -> LongSpeech:
    """Speak a plan that is one utterance, and again while it has problems. Raises NothingSaid.

    Args:
        speak: speaks a request; raises NothingSaid if the model says nothing.
    """
    attempts, limit = context.attempts(0), token_limit(context.plan.options.max_seconds, context.vocabulary)
    while attempts.requests:
        attempts.take([Outcome.alone(request, speak, limit) for request in attempts.requests])
    return _checked(context, attempts.settle())


def speech_steps(context: Context, *, checked: bool) -> Steps[Speech]:
    """Speak a plan, for a caller that runs the requests. Returns the speech.

    Args:
        checked: whether a text that is one utterance is spoken again while it has problems.
    """
    plan = context.plan
    if not plan.single:
        spoken = yield from narration_steps(context)
        return LongSpeech.join(spoken, plan.seed)
    if not checked:
        (job,) = yield [plan.request]
        return job.result()
    (record,) = yield from speak_together([context.attempts(0)])
    return _checked(context, record)


def _checked(context: Context, record: Record) -> LongSpeech:
    """The speech of a plan that is one utterance. Raises NothingSaid."""
    return LongSpeech.single(context.plan.passages[0], record, context.vocabulary.sample_rate, context.plan.seed)


def narration_steps(context: Context) -> Steps[list[SpokenPassage]]:
    """Speak a plan as `narrate` does, for a caller that runs the requests. Returns all passages."""
    plan = context.plan
    joined, spoken, block = _Joined(plan, context.vocabulary.sample_rate), [], range(0)
    while block.stop < len(plan.passages):
        block = plan.block(block.stop, voiced=context.first is not None)
        records = yield from speak_together([context.attempts(index) for index in block])
        for index, record in zip(block, records, strict=True):
            context.add(index, record)
            spoken.append(joined.passage(index, record))
    return spoken


def speak_together(block: Sequence[Attempts]) -> Steps[list[Record]]:
    """Speak passages together, and again those with problems. Returns the best attempt of each."""
    while going := [attempts for attempts in block if attempts.requests]:
        jobs = iter((yield [request for attempts in going for request in attempts.requests]))
        for attempts in going:
            attempts.take([Outcome.of(next(jobs)) for _ in attempts.requests])
    return [attempts.settle() for attempts in block]


class _Joined:
    """Joins the passages of a plan, which come in their order."""

    def __init__(self, plan: Plan, sample_rate: int) -> None:
        self._plan = plan
        self._joiner = Joiner(sample_rate)
        self._samples = 0  # of the passages so far

    def passage(self, index: int, record: Record, *, resumed: bool = False) -> SpokenPassage:
        """The next passage: trimmed, joined to the one before, and timed."""
        plan, rate = self._plan, self._joiner.sample_rate
        said = plan.passages[index]
        waveform, sounds = join(plan, index, record.waveform, self._joiner)
        start = self._samples + min(len(waveform), round(plan.pause_before(index) * rate))
        self._samples += len(waveform)
        return SpokenPassage(
            said.as_written, said.text, said.speaker, start / rate, self._samples / rate, sounds,
            record.seed, record.attempts, record.problems, record.rejected, resumed,
            waveform, rate, record.tokens, record.timings,
        )  # fmt: skip


def join(
    plan: Plan, index: int, waveform: Waveform, joiner: Joiner
) -> tuple[Waveform, tuple[tuple[float, float], ...]]:
    """Trim a passage and join it to the one before. Returns its samples and its stretches of sound."""
    trimmer, joined = trimmer_of(plan, index, joiner.sample_rate), joiner.begin(plan.pause_before(index))
    pieces = [joined.push(trimmer.push(waveform)), joined.push(trimmer.finish()), joined.finish()]
    return np.concatenate(pieces), tuple(trimmer.sounds)


def trimmer_of(plan: Plan, index: int, sample_rate: int) -> Trimmer:
    """The trimmer of a passage. The first passage begins as a single utterance does, so that it is heard early.

    So do the passages of a text that comes piece by piece, after the silence before their first sound: a listener may
    be waiting for any of them.
    """
    return Trimmer(
        sample_rate,
        from_start=index == 0,
        waits=not plan.growing,
        expected_seconds=estimate_seconds(plan.passages[index].text),
        guards=plan.narration.guards,
    )


def _run(steps: Steps[T], runner: Runner, progress: Callable[[Sequence[Job]], None]) -> T:
    """Run steps on a runner of their own. The progress of the first step is reported."""
    try:
        requests = next(steps)
        jobs = runner.run(requests, progress)
        while True:
            jobs = runner.run(steps.send(jobs), None)
    except StopIteration as end:
        result: T = end.value
        return result


def _counted(count: Callable[[float], None], done: float, expected: Sequence[float]) -> Callable[[Sequence[Job]], None]:
    """A function that takes the jobs of a block's first attempt, and counts the seconds of speech that they have."""

    def progress(jobs: Sequence[Job]) -> None:
        count(done + sum(min(job.seconds, most) for job, most in zip(jobs, expected, strict=True)))

    return progress
