"""What was said: the passages of a text with their times and problems, and the speech that they are together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Waveform
from ..engine.speech import Speech
from ..errors import NothingSaid
from ..model.voice import VoicePreset
from ..splitting.passages import Passage
from ..subtitles.formats import Cue
from ..subtitles.timing import phrase_cues, stretches
from .guards import Problem
from .journal import Record


@dataclass(frozen=True, eq=False, repr=False)
class PassageReport:
    """What was said in a passage of a text, and when.

    Args:
        text: what was said, as it is written.
        spoken: the words of it, which differ if the text was normalised.
        speaker: who said it, in a script.
        start, end: seconds from the beginning of the whole, without the pause before the passage.
        sounds: the stretches of sound, as first and last second from `start` on.
        seed: the seed of the attempt that was kept.
        attempts: how often the passage was spoken.
        problems: what is wrong with the attempt that was kept.
        rejected: what was wrong with the other attempts.
        resumed: whether the passage was spoken before an interruption, and is from the journal.
    """

    text: str
    spoken: str
    speaker: str | None
    start: float
    end: float
    sounds: tuple[tuple[float, float], ...]
    seed: int
    attempts: int
    problems: tuple[Problem, ...]
    rejected: tuple[Problem, ...]
    resumed: bool

    @property
    def duration(self) -> float:
        """Seconds, without the pause."""
        return self.end - self.start

    @property
    def cues(self) -> list[Cue]:
        """As subtitles, one for each phrase. Their times are estimates, from the pauses in the passage."""
        return phrase_cues(self.text, self.sounds, self.start, self.speaker)

    @property
    def sentences(self) -> list[Cue]:
        """When each sentence is said: estimates, as the times of `cues`."""
        return phrase_cues(self.text, self.sounds, self.start, self.speaker, level="sentence")

    def __repr__(self) -> str:
        words = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return f"<{type(self).__name__} {self.start:.2f} to {self.end:.2f} s: {words!r}, {len(self.problems)} problems>"


@dataclass(frozen=True, eq=False, repr=False)
class SpokenPassage(PassageReport):
    """A passage of a long text. The waveforms of all passages, one after another, are the whole.

    Args:
        waveform: float32 [n], mono: the pause before the passage, and the passage.
        sample_rate: in Hz.
        tokens: the generation, usable as a voice; None if the model said nothing.
        timings: compute seconds of all attempts by stage.
    """

    waveform: Waveform
    sample_rate: int
    tokens: VoicePreset | None
    timings: Mapping[str, float]


@dataclass(frozen=True, eq=False, repr=False)
class LongSpeech(Speech):
    """The speech of a text whose passages were checked: one that did not fit in one utterance, or a checked utterance.

    Args:
        tokens: those of the first passage, usable as a voice.
        passages: what was said when, and how it was generated.
    """

    passages: tuple[SpokenPassage, ...]

    @classmethod
    def join(cls, passages: Sequence[SpokenPassage], seed: int) -> "LongSpeech":
        """The passages as one speech. Raises NothingSaid if the model said nothing in all of them."""
        tokens = next((passage.tokens for passage in passages if passage.tokens is not None), None)
        if tokens is None:
            raise NothingSaid
        timings: Counter[str] = Counter()
        for passage in passages:
            timings.update(passage.timings)
        waveform = np.concatenate([passage.waveform for passage in passages])
        return cls(waveform, passages[0].sample_rate, tokens, seed, timings, tuple(passages))

    @classmethod
    def single(cls, said: Passage, record: Record, sample_rate: int, seed: int) -> "LongSpeech":
        """A single utterance, as it was decoded. Raises NothingSaid if the model said nothing."""
        if record.tokens is None:
            raise NothingSaid
        end = len(record.waveform) / sample_rate
        passage = SpokenPassage(
            said.as_written, said.text, None, 0.0, end, tuple(stretches(record.waveform, sample_rate)), record.seed,
            record.attempts, record.problems, record.rejected, False, record.waveform, sample_rate, record.tokens,
            record.timings,
        )  # fmt: skip
        return cls(record.waveform, sample_rate, record.tokens, seed, record.timings, (passage,))
