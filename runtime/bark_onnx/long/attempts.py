"""Attempts at a passage: what conditions it, what is wrong with an attempt, and which one is kept."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..engine.job import Job, Request
from ..errors import NothingSaid
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset, succession
from .guards import Guards, Problem, problems
from .journal import Record
from .plan import Plan, passage_seed
from .splitting import estimate_seconds


class Histories:
    """What conditions each passage of a plan: the voice, the passage before, or both."""

    def __init__(self, plan: Plan, vocabulary: Vocabulary) -> None:
        self._plan = plan
        self._vocabulary = vocabulary
        self._last: dict[str | None, VoicePreset] = {}  # the last passage of each speaker
        self.first: VoicePreset | None = None  # the first passage of all, the voice of speakers without one

    def of(self, index: int) -> VoicePreset | None:
        """The history of a passage, once all passages before it that it depends on have been added."""
        speaker = self._plan.passages[index].speaker
        voice, before = self._plan.voices[speaker] or self.first, self._last.get(speaker)
        if self._plan.history == "fixed" or before is None:
            return voice
        if self._plan.history == "rolling" or voice is None:
            return before
        return succession(voice, before, self._vocabulary)

    def add(self, index: int, tokens: VoicePreset | None) -> None:
        """Tell what a passage became; None if the model said nothing."""
        if tokens is not None:
            self._last[self._plan.passages[index].speaker] = tokens
            self.first = self.first or tokens


def request_of(plan: Plan, index: int, attempt: int, history: VoicePreset | None) -> Request:
    """The request of an attempt at a passage. Each attempt has another seed."""
    seed = plan.seed if plan.single else passage_seed(plan.seed, index, attempt)
    return Request(plan.passages[index].text, voice=history, seed=seed, options=plan.options)


def judge(job: Job, attempts: int, guards: Guards, vocabulary: Vocabulary) -> Record:
    """The record of an attempt, with its problems. Raises the job's error, unless the model said nothing."""
    speech = job.speech
    if speech is None:
        if not isinstance(job.error, NothingSaid):
            job.result()  # raises the error
        silent = (Problem("silent", str(job.error)),)
        return Record(np.zeros(0, np.float32), None, job.seed, attempts, silent, (), job.timings)
    found = problems(
        speech.waveform,
        vocabulary.sample_rate,
        semantic_tokens=len(speech.tokens.semantic),
        token_limit=job.semantic.limit,
        expected_seconds=estimate_seconds(job.request.text),
        guards=guards,
    )
    return Record(speech.waveform, speech.tokens, job.seed, attempts, tuple(found), (), job.timings)


def better(best: Record | None, record: Record) -> Record:
    """The better of the attempts so far and a new one: silence is worse than any other problems."""
    if best is None:
        return record
    kept, other = sorted((best, record), key=_badness)
    timings = {stage: seconds + best.timings.get(stage, 0.0) for stage, seconds in record.timings.items()}
    rejected = best.rejected + other.problems
    return replace(kept, attempts=record.attempts, rejected=rejected, timings=timings)


def _badness(record: Record) -> tuple[bool, int]:
    return any(problem.name == "silent" for problem in record.problems), len(record.problems)


def wrong(records: Sequence[Record | None]) -> list[int]:
    """The places of passages that have not been spoken, or have problems."""
    return [place for place, record in enumerate(records) if record is None or record.problems]
