"""Long texts: passages are spoken one by one or in blocks, checked, joined to the passage before, and timed.

The plan fixes which passages are spoken together. A block is a batch, and in int8 the rows of a batch share the scale
of their activations: a passage comes out the same only beside the same neighbours. So a job that was interrupted speaks
an unfinished block again from its beginning, and its result is that of a job that was never stopped. On an engine that
others use too, the neighbours are not fixed; in fp32 and int4 the result is the same all the same.
"""

import hashlib
import json
import logging
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from ..arrays import Waveform
from ..engine.job import Job, Request
from ..errors import BarkError, NothingSaid, require
from ..model.tokenizer import says_something
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset, succession
from ..numbers import check_seed, plain_numbers
from ..stages.options import GenerationOptions
from .guards import Guards, Problem, problems, trim
from .joining import Joiner
from .journal import Journal, Record
from .script import parse_script
from .splitting import Passage, estimate_seconds, passages
from .subtitles import Cue

log = logging.getLogger(__name__)

History = Literal["fixed", "rolling", "hybrid"]
HISTORIES: tuple[History, ...] = ("fixed", "rolling", "hybrid")


@dataclass(frozen=True)
class NarrationOptions:
    """How a long text is spoken.

    Args:
        passage_seconds: speech in one passage at most, by estimate; a model's utterance ends at about 14.
        sentence_pause, clause_pause, speaker_pause, paragraph_pause: seconds of silence between passages, by what lies
            between them.
        guards: when a passage is spoken again.
        block: passages spoken together; each takes memory for its KV caches.
    """

    passage_seconds: float = 13.0
    sentence_pause: float = 0.25
    clause_pause: float = 0.08
    speaker_pause: float = 0.4
    paragraph_pause: float = 0.7
    guards: Guards = field(default_factory=Guards)
    block: int = 4

    def __post_init__(self) -> None:
        plain_numbers(self)
        checks = {f"{name}_pause must be 0 to 60": 0 <= getattr(self, f"{name}_pause") <= 60 for name in _PAUSES} | {
            "passage_seconds must be 1 to 14": 1 <= self.passage_seconds <= 14,
            "block must be 1 to 64": 1 <= self.block <= 64,
        }
        require(self, checks)


_PAUSES = ("sentence", "clause", "speaker", "paragraph")


@dataclass(frozen=True, eq=False, repr=False)
class SpokenPassage:
    """A passage of a long text, ready: the waveforms of all, one after another, are the whole.

    Args:
        waveform: float32 [n], mono: the pause before the passage, and the passage.
        sample_rate: in Hz.
        text, speaker: what was said, and by whom in a script.
        start, end: when it is said in the whole, in seconds.
        seed: what made it.
        attempts: how many it took.
        problems: what is wrong with it still, after the last attempt.
        rejected: what was wrong with the attempts that were thrown away.
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


@dataclass(frozen=True, eq=False)
class Plan:
    """A long job: all that decides its result.

    Args:
        voices: by speaker; None is who speaks outside of scripts. A voice of None is that of the first passage.
        history: what a passage hears before it: the voice always (`fixed`), the passage before (`rolling`), or the end
            of the voice and then of the passage before (`hybrid`).
        bundle: what identifies the model.

    Raises BarkError for a history or a seed that is none.
    """

    passages: list[Passage]
    voices: Mapping[str | None, VoicePreset | None]
    history: History
    seed: int
    options: GenerationOptions
    narration: NarrationOptions
    bundle: str

    def __post_init__(self) -> None:
        if self.history not in HISTORIES:
            raise BarkError(f"history must be {', '.join(HISTORIES)}, not {self.history!r}")
        object.__setattr__(self, "seed", check_seed(self.seed))

    def block(self, start: int, *, voiced: bool) -> range:
        """The passages from `start` that are spoken together.

        Alone is what hears the passage before it, and what finds the voice for the others (not `voiced` yet).
        """
        alone = self.history != "fixed" or (None in self.voices.values() and not voiced)
        return range(start, min(len(self.passages), start + (1 if alone else self.narration.block)))

    def fingerprint(self) -> str:
        """sha256 of everything here."""
        voices = {
            str(speaker): None if voice is None else _hash(*voice.to_prompt().values())
            for speaker, voice in self.voices.items()
        }
        document = {
            "passages": [asdict(passage) for passage in self.passages],
            "voices": voices,
            "options": [self.history, self.seed, asdict(self.options), asdict(self.narration)],
            "bundle": self.bundle,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def pause_before(self, index: int) -> float:
        """Seconds of silence before a passage."""
        if index == 0:
            return 0.0
        before, here = self.passages[index - 1], self.passages[index]
        if before.ends_paragraph:
            return self.narration.paragraph_pause
        if before.speaker != here.speaker:
            return self.narration.speaker_pause
        last = before.text[-1]
        vowel_sign = unicodedata.category(last) in ("Mn", "Mc")  # of a Hindi word
        cut = last.isalnum() or vowel_sign or last in ",;:—–、，；："
        return self.narration.clause_pause if cut else self.narration.sentence_pause


def speakable(passages: Sequence[Passage]) -> list[Passage]:
    """The passages that say something. A line of asterisks ends a paragraph: the model would invent words for it.

    Raises BarkError if there is none.
    """
    found: list[Passage] = []
    for passage in passages:
        if says_something(passage.text):
            found.append(passage)
        elif found:
            found[-1] = replace(found[-1], ends_paragraph=True)
    if not found:
        raise BarkError("the text is empty: there is nothing to say")
    return found


def plan_passages(text: str, fits: Callable[[str], bool], cast: Collection[str] | None = None) -> list[Passage]:
    """A text as passages that one utterance can say.

    Args:
        text: paragraphs with blank lines between them; with a cast, a script of `SPEAKER: line`.
        fits: whether one utterance can say a text.
        cast: the speakers of a script.

    Raises BarkError for a text that says nothing, or a script with speakers who are not in the cast.
    """
    if cast is None:
        return speakable(passages(text, fits))
    return speakable(
        [
            replace(passage, ends_paragraph=passage.ends_paragraph and line.ends_paragraph)
            for line in parse_script(text, cast)
            for passage in passages(line.text, fits, line.speaker)
        ]
    )


class Runner(Protocol):
    """An engine, or a worker that owns one."""

    def run(self, requests: Sequence[Request]) -> list[Job]:
        """Generate these utterances together and return their jobs when all have ended."""


def narrate(plan: Plan, runner: Runner, vocabulary: Vocabulary, journal: Journal | None) -> Iterator[SpokenPassage]:
    """Speak a plan, passage after passage. Passages that the journal holds already are taken from there."""
    joiner, samples, rate = Joiner(vocabulary.sample_rate), 0, vocabulary.sample_rate
    last: dict[str | None, VoicePreset] = {}  # what each speaker said last
    first: VoicePreset | None = None  # the voice of who came without one
    block = range(0)
    while block.stop < len(plan.passages):
        block = plan.block(block.stop, voiced=first is not None)
        kept = [None if journal is None else journal.load(index, vocabulary) for index in block]
        if None in kept:
            histories = {
                index: _history(plan, plan.passages[index].speaker, last, first, vocabulary) for index in block
            }
            records = _speak(plan, histories, runner, vocabulary)
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
    """What a passage hears before it."""
    voice, before = plan.voices[speaker] or first, last.get(speaker)
    if plan.history == "fixed" or before is None:
        return voice
    return before if plan.history == "rolling" or voice is None else succession(voice, before, vocabulary)


def _speak(
    plan: Plan, histories: Mapping[int, VoicePreset | None], runner: Runner, vocabulary: Vocabulary
) -> list[Record]:
    """Speak a block. A passage with problems is spoken again with the next seed; return the best attempt of each."""
    best: dict[int, Record] = {}
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
            record = _judge(job, attempt + 1, plan.narration.guards, vocabulary)
            if index in best:
                better, worse = sorted((best[index], record), key=_badness)
                record = replace(better, attempts=attempt + 1, rejected=best[index].rejected + worse.problems)
            best[index] = record
    return [best[index] for index in histories]


def _badness(record: Record) -> tuple[bool, int]:
    """What an attempt is compared by: nothing to hear is worse than anything else."""
    return any(problem.name == "silent" for problem in record.problems), len(record.problems)


def passage_seed(seed: int, index: int, attempt: int) -> int:
    """A passage's own seed, 32 bits; each attempt takes the next one."""
    first = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1)[0]
    return (int(first) + attempt) % 2**32


def _judge(job: Job, attempts: int, guards: Guards, vocabulary: Vocabulary) -> Record:
    """What an attempt came to, trimmed, with its problems. Raises the job's error unless it only said nothing."""
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
    )
    part = trim(speech.waveform, rate, expected_seconds=expected, guards=guards)
    return Record(speech.waveform[part], speech.tokens, job.seed, attempts, tuple(found), ())


def _hash(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, np.int64).tobytes() for array in arrays)).hexdigest()
