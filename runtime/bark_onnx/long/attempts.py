"""Attempts at a passage: what conditions it, what is wrong with an attempt, and which one is kept."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..engine.job import Job, Request
from ..engine.speech import Speech
from ..errors import NothingSaid
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset, succession
from ..splitting.passages import estimate_seconds
from .guards import Guards, Problem, problems
from .journal import Record
from .pace import Pace, Paces, doubtful, sentences
from .plan import Plan, passage_seed
from .trimming import trimmed


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a request.

    Args:
        request: its seed is the one in use.
        speech: None if the model said nothing.
        token_limit: how many semantic tokens there could have been.
        timings: compute seconds by stage.
    """

    request: Request
    speech: Speech | None
    token_limit: int
    timings: Mapping[str, float]

    @classmethod
    def of(cls, job: Job) -> "Outcome":
        """The outcome of a job that has ended. Raises the job's error, unless the model said nothing."""
        if job.speech is None and not isinstance(job.error, NothingSaid):
            job.result()  # raises the error
        return cls(replace(job.request, seed=job.seed), job.speech, job.semantic.limit, job.timings)

    @classmethod
    def alone(cls, request: Request, speak: Callable[[Request], Speech], token_limit: int) -> "Outcome":
        """Speak a request that has its seed. Raises what `speak` raises, unless the model said nothing."""
        try:
            speech = speak(request)
        except NothingSaid:
            return cls(request, None, token_limit, {})
        return cls(request, speech, token_limit, speech.timings)


class Context:
    """What passages depend on: the passages before them, the voice of the first one, and how fast each voice speaks.

    Args:
        says_something: whether the model's vocabulary covers any word of a text.
    """

    def __init__(self, plan: Plan, vocabulary: Vocabulary, says_something: Callable[[str], bool]) -> None:
        self.plan = self._plan = plan
        self.vocabulary = self._vocabulary = vocabulary
        self._says_something = says_something
        self._last: dict[str | None, VoicePreset] = {}  # the last passage of each speaker
        self._paces = Paces(vocabulary.sample_rate)  # of the blocks before
        self._block = range(0)
        self._of_block: list[tuple[int, Record]] = []  # passages of the block
        self.first: VoicePreset | None = None  # the first passage of all, the voice of speakers without one

    def attempts(self, index: int) -> "Attempts":
        """Begin a passage, once all passages before it that it depends on have been added.

        The passages of a block are judged by the paces of the blocks before it, whether they are spoken together or one
        after another.
        """
        self._enter(index)
        passage = self._plan.passages[index]
        pace = self._paces.of(passage.speaker, passage.text)
        parts = sentences(passage.text)
        if pace.known or len(parts) < 2 or not all(map(self._says_something, parts)):
            parts = []
        return Attempts(self._plan, index, self._history(passage.speaker), pace, parts, self._vocabulary)

    def add(self, index: int, record: Record) -> None:
        """Tell what a passage became, also one from a journal: then later passages are judged as they were before."""
        self._enter(index)
        self._of_block.append((index, record))
        if record.tokens is not None:
            self._last[self._plan.passages[index].speaker] = record.tokens
            self.first = self.first or record.tokens

    def _enter(self, index: int) -> None:
        """Begin the block of a passage, unless it has begun."""
        while index >= self._block.stop:
            for before, record in self._of_block:
                passage, guards = self._plan.passages[before], self._plan.narration.guards
                spoken = trimmed(record.waveform, self._vocabulary.sample_rate, estimate_seconds(passage.text), guards)
                self._paces.add(passage.speaker, passage.text, spoken, record.problems)
            self._of_block.clear()
            self._block = self._plan.block(self._block.stop, voiced=self.first is not None)

    def _history(self, speaker: str | None) -> VoicePreset | None:
        """The history that conditions a passage."""
        voice, before = self._plan.voices[speaker] or self.first, self._last.get(speaker)
        if self._plan.history == "fixed" or before is None:
            return voice
        if self._plan.history == "rolling" or voice is None:
            return before
        return succession(voice, before, self._vocabulary)


class Attempts:
    """Speaks a passage until it has no problems, or as often as the guards allow. It says what to speak next.

    While the pace of the voice is unknown, an attempt that may have lost words is judged with more effort: its
    sentences are spoken one by one, to measure the pace. If all attempts have lost words, the passage is these
    sentences, one after another.

    Args:
        history: what conditions the passage.
        pace: of the voice, measured on earlier passages.
        parts: sentences on which the pace can be measured if it is unknown.
    """

    def __init__(
        self,
        plan: Plan,
        index: int,
        history: VoicePreset | None,
        pace: Pace,
        parts: Sequence[str],
        vocabulary: Vocabulary,
    ) -> None:
        self._plan = plan
        self._index = index
        self._history = history
        self._pace = pace
        self._parts = parts
        self._vocabulary = vocabulary
        self._guards = plan.narration.guards
        self._sentences: list[Outcome] = []  # spoken one by one
        self._doubtful: Outcome | None = None  # an attempt that is judged when the pace has been measured
        self.count = 0  # attempts that have been made
        self.best: Record | None = None
        self.requests: list[Request] = [self._request()]
        """What to speak next: an attempt, or sentences to measure the pace; nothing if the best attempt is kept."""

    @property
    def measures(self) -> bool:
        """Whether the requests measure the pace."""
        return self._doubtful is not None

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take what became of the requests."""
        if self._doubtful is not None:
            outcome, self._doubtful = self._doubtful, None
            self._pace, self._parts = self._measured(outcome, outcomes), []
            self._judge(outcome)
            return
        (outcome,) = outcomes
        self.count += 1
        speech, text = outcome.speech, outcome.request.text
        if speech is None or not self._parts or not doubtful(text, speech.waveform, self._vocabulary.sample_rate):
            self._judge(outcome)
            return
        voice, self._doubtful = self._history or speech.tokens, outcome
        self.requests = [replace(outcome.request, text=part, voice=voice) for part in self._parts]

    def settle(self) -> Record:
        """Keep the best attempt that has been made, without further requests."""
        if self._doubtful is not None:
            outcome, self._doubtful = self._doubtful, None
            self._judge(outcome)
        self.requests = []
        assert self.best is not None
        return self.best

    def _request(self) -> Request:
        """The next attempt. Each has another seed."""
        plan, index = self._plan, self._index
        seed = passage_seed(plan.seed, index, self.count)
        return Request(plan.passages[index].text, voice=self._history, seed=seed, options=plan.options)

    def _judge(self, outcome: Outcome) -> None:
        record = judge(outcome, self.count, self._guards, self._pace, self._vocabulary)
        self.best = better(self.best, record)
        more = self.best.problems and self.count <= self._guards.retries
        self.requests = [self._request()] if more else []
        if (
            not more
            and self._guards.retries
            and self._sentences
            and any(problem.name == "short" for problem in self.best.problems)
        ):
            sentences, self._sentences = self._joined(), []
            self.count += 1
            self._judge(sentences)

    def _measured(self, outcome: Outcome, sentences: Sequence[Outcome]) -> Pace:
        """The pace that the sentences of an attempt have together; unknown if one was not spoken."""
        rate = self._vocabulary.sample_rate
        spoken = [sentence.speech.waveform for sentence in sentences if sentence.speech is not None]
        if len(spoken) < len(sentences):
            return Pace()
        self._sentences = [*sentences]
        waveform = np.concatenate([trimmed(part, rate) for part in spoken])
        return Pace().after(outcome.request.text, waveform, rate)

    def _joined(self) -> Outcome:
        """The sentences that were spoken one by one, as one attempt: with the usual pause between them."""
        rate, pause = self._vocabulary.sample_rate, self._plan.narration.sentence_pause
        silence = np.zeros(round(pause * rate), np.float32)
        spoken = [sentence.speech for sentence in self._sentences if sentence.speech is not None]
        parts = [part for speech in spoken for part in (silence, trimmed(speech.waveform, rate))][1:]
        tokens = VoicePreset(
            np.concatenate([speech.tokens.semantic for speech in spoken]),
            np.concatenate([speech.tokens.coarse for speech in spoken], axis=1),
            np.concatenate([speech.tokens.fine for speech in spoken], axis=1),
        )
        timings: Counter[str] = Counter()
        for sentence in self._sentences:
            timings.update(sentence.timings)
        request = replace(self._sentences[0].request, text=self._plan.passages[self._index].text)
        limit = sum(sentence.token_limit for sentence in self._sentences)
        return Outcome(request, Speech(np.concatenate(parts), rate, tokens, spoken[0].seed, timings), limit, timings)


def judge(outcome: Outcome, attempts: int, guards: Guards, pace: Pace, vocabulary: Vocabulary) -> Record:
    """The record of an attempt, with its problems."""
    text, speech, seed = outcome.request.text, outcome.speech, outcome.request.seed
    assert seed is not None
    if speech is None:
        silent = (Problem("silent", str(NothingSaid())),)
        return Record(np.zeros(0, np.float32), None, seed, attempts, silent, (), outcome.timings)
    found = problems(
        speech.waveform,
        vocabulary.sample_rate,
        semantic_tokens=len(speech.tokens.semantic),
        token_limit=outcome.token_limit,
        expected_seconds=estimate_seconds(text),
        guards=guards,
        speech=pace.expects(text, guards),
    )
    return Record(speech.waveform, speech.tokens, seed, attempts, tuple(found), (), outcome.timings)


def better(best: Record | None, record: Record) -> Record:
    """The better of the attempts so far and a new one."""
    if best is None:
        return record
    kept, other = sorted((best, record), key=_badness)
    timings = {stage: seconds + best.timings.get(stage, 0.0) for stage, seconds in record.timings.items()}
    rejected = best.rejected + other.problems
    return replace(kept, attempts=record.attempts, rejected=rejected, timings=timings)


def _badness(record: Record) -> tuple[bool, bool, int, int]:
    """The key by which attempts are compared. No sound is worst, then silence; of short ones, the longest is best."""
    names = [problem.name for problem in record.problems]
    return record.tokens is None, "silent" in names, len(names), -len(record.waveform) if "short" in names else 0
