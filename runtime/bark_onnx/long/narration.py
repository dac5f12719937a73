"""Long texts: passages are spoken one by one or in blocks, checked, joined to the passage before, and timed.

The plan fixes which passages are spoken together, in a block. A job that was interrupted speaks an unfinished block
again from its beginning. Its result is that of a job that was never stopped, since a passage is the same whatever is
spoken beside it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..arrays import Waveform
from ..engine.job import Job, Request
from ..errors import NothingSaid
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset, succession
from .guards import Guards, Problem, problems, trim
from .joining import Joiner
from .journal import Journal, Record
from .pace import Pace, Paces, doubtful, sentences
from .plan import Plan, passage_seed
from .splitting import estimate_seconds
from .subtitles import Cue

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class SpokenPassage:
    """A passage of a long text. The waveforms of all passages, one after another, are the whole.

    Args:
        waveform: float32 [n], mono: the pause before the passage, and the passage.
        sample_rate: in Hz.
        text: what was said.
        speaker: who said it, in a script.
        start, end: seconds from the beginning of the whole, without the pause.
        seed: the seed of the attempt that was kept.
        attempts: how often the passage was spoken.
        problems: what is wrong with the attempt that was kept.
        rejected: what was wrong with the other attempts.
        tokens: the generation, usable as a voice; None if the model said nothing.
    """

    waveform: Waveform
    sample_rate: int
    text: str
    speaker: str | None
    start: float
    end: float
    seed: int
    attempts: int
    problems: tuple[Problem, ...]
    rejected: tuple[Problem, ...]
    tokens: VoicePreset | None

    def __repr__(self) -> str:
        words = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return f"<SpokenPassage {self.start:.2f} to {self.end:.2f} s: {words!r}, {len(self.problems)} problems>"

    @property
    def cue(self) -> Cue:
        """As a subtitle."""
        return Cue(self.start, self.end, self.text, self.speaker)


class Runner(Protocol):
    """An engine, or a worker that owns one."""

    def run(self, requests: Sequence[Request]) -> list[Job]:
        """Generate these utterances together and return their jobs when all have ended."""


def narrate(plan: Plan, runner: Runner, vocabulary: Vocabulary, journal: Journal | None) -> Iterator[SpokenPassage]:
    """Speak a plan, passage after passage. Passages that the journal holds already are taken from there."""
    joiner, samples, rate = Joiner(vocabulary.sample_rate), 0, vocabulary.sample_rate
    last: dict[str | None, VoicePreset] = {}  # the last passage of each speaker
    first: VoicePreset | None = None  # the voice for speakers without one
    paces = Paces(rate)  # of the blocks before; from their records, so that a resumed job has the same
    block = range(0)
    while block.stop < len(plan.passages):
        block = plan.block(block.stop, voiced=first is not None)
        kept = [None if journal is None else journal.load(index, vocabulary) for index in block]
        if None in kept:
            histories = {
                index: _history(plan, plan.passages[index].speaker, last, first, vocabulary) for index in block
            }
            records = _speak(plan, histories, paces, runner, vocabulary)
            if journal is not None:
                for index, record in zip(block, records, strict=True):
                    journal.save(index, record)
        else:
            records = [record for record in kept if record is not None]
        for index, record in zip(block, records, strict=True):
            passage, pause = plan.passages[index], plan.pause_before(index)
            if record.tokens is not None:
                last[passage.speaker] = record.tokens
                first = first or record.tokens
            paces.add(passage.speaker, passage.text, record.waveform, record.problems)
            waveform = joiner.add(record.waveform, pause)
            samples += len(waveform)
            yield SpokenPassage(
                waveform, rate, passage.text, passage.speaker,
                (samples - len(record.waveform)) / rate, samples / rate,
                record.seed, record.attempts, record.problems, record.rejected, record.tokens,
            )  # fmt: skip


def _history(
    plan: Plan,
    speaker: str | None,
    last: Mapping[str | None, VoicePreset],
    first: VoicePreset | None,
    vocabulary: Vocabulary,
) -> VoicePreset | None:
    """The history that conditions a passage."""
    voice, before = plan.voices[speaker] or first, last.get(speaker)
    if plan.history == "fixed" or before is None:
        return voice
    return before if plan.history == "rolling" or voice is None else succession(voice, before, vocabulary)


def _speak(
    plan: Plan, histories: Mapping[int, VoicePreset | None], known: Paces, runner: Runner, vocabulary: Vocabulary
) -> list[Record]:
    """Speak a block. A passage with problems is spoken again with the next seed; return the best attempt of each."""
    best: dict[int, Record] = {}
    paces = {index: known.of(plan.passages[index].speaker, plan.passages[index].text) for index in histories}
    for attempt in range(plan.narration.guards.retries + 1):
        wrong = [index for index in histories if index not in best or best[index].problems]
        if not wrong:
            break
        requests = [
            Request(
                plan.passages[index].text,
                voice=histories[index],
                seed=passage_seed(plan.seed, index, attempt),
                options=plan.options,
            )
            for index in wrong
        ]
        if attempt:
            log.info("attempt %d for passages %s", attempt + 1, [index + 1 for index in wrong])
        for index, job in zip(wrong, runner.run(requests), strict=True):
            if not paces[index].known:
                paces[index] = _measured_pace(job, histories[index], runner, vocabulary)
            record = _judge(job, attempt + 1, plan.narration.guards, paces[index], vocabulary)
            if index in best:
                better, worse = sorted((best[index], record), key=_badness)
                record = replace(better, attempts=attempt + 1, rejected=best[index].rejected + worse.problems)
            best[index] = record
    return [best[index] for index in histories]


def _measured_pace(job: Job, voice: VoicePreset | None, runner: Runner, vocabulary: Vocabulary) -> Pace:
    """Measure the pace of a voice on a passage that may have lost words: speak its sentences one by one.

    Returns an unknown pace if the passage is long enough, or has only one sentence, or a sentence was not spoken.
    """
    text, speech, rate = job.request.text, job.speech, vocabulary.sample_rate
    parts = sentences(text)
    if speech is None or len(parts) < 2 or not doubtful(text, speech.waveform, rate):
        return Pace()
    requests = [replace(job.request, text=part, voice=voice or speech.tokens, seed=job.seed) for part in parts]
    spoken = [part.speech.waveform for part in runner.run(requests) if part.speech is not None]
    if len(spoken) < len(parts):
        return Pace()
    trimmed = [waveform[trim(waveform, rate)] for waveform in spoken]
    return Pace().after(text, np.concatenate(trimmed), rate)


def _badness(record: Record) -> tuple[bool, int, int]:
    """The key by which attempts are compared. Silence is worst; of short ones, the longest lost fewest words."""
    names = [problem.name for problem in record.problems]
    return "silent" in names, len(names), -len(record.waveform) if "short" in names else 0


def _judge(job: Job, attempts: int, guards: Guards, pace: Pace, vocabulary: Vocabulary) -> Record:
    """The record of an attempt: trimmed, with its problems. Raises the job's error, unless the model said nothing."""
    speech = job.speech
    if speech is None:
        if not isinstance(job.error, NothingSaid):
            job.result()  # raises the error
        return Record(np.zeros(0, np.float32), None, job.seed, attempts, (Problem("silent", str(job.error)),), ())
    rate, expected = vocabulary.sample_rate, estimate_seconds(job.request.text)
    found = problems(
        speech.waveform,
        rate,
        semantic_tokens=len(speech.tokens.semantic),
        token_limit=job.semantic.limit,
        expected_seconds=expected,
        guards=guards,
        speech=pace.expects(job.request.text, guards),
    )
    part = trim(speech.waveform, rate, expected_seconds=expected, guards=guards)
    return Record(speech.waveform[part], speech.tokens, job.seed, attempts, tuple(found), ())
