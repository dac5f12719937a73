"""How fast a voice speaks, measured on passages that it has spoken, and how much speech a text should therefore have.

A voice preset has no text, so its own pace is unknown, and estimates from its sound (peaks of the loudness per second)
are too inaccurate. So a pace is measured on texts that the voice was asked to speak.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, median

from ..arrays import Waveform
from ..model.scripts import main_script
from ..splitting.passages import estimate_seconds, sentence_ends, unwrap
from ..splitting.punctuation import MARK
from .guards import Guards, Problem, SpeechTime, spoken_seconds

# Measured on nano, on 281 passages of one to four sentences (docs/quality.md).
SECONDS_PER_SENTENCE = 0.2  # the end of a sentence is spoken more slowly, and short pauses count as speech
SPREAD = 0.11  # standard deviation of the logarithm of spoken by expected seconds, between passages of one voice

MOST_PASSAGES = 20  # of which a pace remembers the ratios: it may drift, and long texts take no more memory
DOUBTFUL = 0.7  # a passage with a smaller share of the expected speech may have lost words, if the pace is unknown
PLAUSIBLE = (0.5, 1.6)  # people's voices are not slower or faster than this; other ratios measure something else

_MARK = re.compile(MARK)


def speech_seconds(text: str) -> float:
    """Estimate how long the words of a text take without the pauses between them, for a voice of the usual pace.

    Marks such as [laughs] count nothing: Bark does not always make a sound there.
    """
    words = unwrap(_MARK.sub(" ", text))
    return estimate_seconds(words) + SECONDS_PER_SENTENCE * len(sentence_ends(words, 0, len(words)))


@dataclass(frozen=True)
class Pace:
    """The pace of one voice: for each passage that it has spoken, its seconds of speech divided by the estimated ones.

    It is a value: `after` returns a new one. So it depends only on the passages, not on when they were spoken.
    """

    ratios: tuple[float, ...] = ()

    @property
    def known(self) -> bool:
        """Whether any passage has been measured."""
        return bool(self.ratios)

    def after(self, text: str, waveform: Waveform, sample_rate: int) -> "Pace":
        """Return the pace with one more passage. A passage that says nothing about the pace changes nothing.

        Args:
            text: with a mark or a song, its length does not follow from its words.
            waveform: [n], the passage, trimmed.
        """
        expected = speech_seconds(text)
        if _MARK.search(text) or "♪" in text or expected <= 0:
            return self
        ratio = spoken_seconds(waveform, sample_rate) / expected
        if not PLAUSIBLE[0] <= ratio <= PLAUSIBLE[1]:
            return self
        return replace(self, ratios=(*self.ratios, ratio)[-MOST_PASSAGES:])

    def expects(self, text: str, guards: Guards) -> SpeechTime | None:
        """Return how much speech a text should have, and the least that it may have; None if the pace is unknown.

        The logarithm of the ratio is taken as normally distributed, with the mean known from n passages only.
        """
        if not self.known:
            return None
        seconds = median(self.ratios) * speech_seconds(text)
        spread = SPREAD * math.sqrt(1 + 1 / len(self.ratios))
        return SpeechTime(seconds, seconds * math.exp(spread * NormalDist().inv_cdf(guards.false_alarms)))


class Paces:
    """The paces of the speakers of a long text; of each speaker by script, as the estimates differ between scripts.

    Args:
        sample_rate: of all passages, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._paces: dict[tuple[str | None, str], Pace] = {}

    def of(self, speaker: str | None, text: str) -> Pace:
        """Return the pace in which a speaker should speak a text."""
        return self._paces.get((speaker, main_script(text)), Pace())

    def add(self, speaker: str | None, text: str, waveform: Waveform, problems: Sequence[Problem]) -> None:
        """Learn from a passage that has been spoken, unless it has other problems than being short.

        If the pace was learnt from a passage that was unusually slow, all others are short. So that this ends, these
        others count. A median is taken, so few passages with missing words do no harm.
        """
        if all(problem.name == "short" for problem in problems):
            self._paces[speaker, main_script(text)] = self.of(speaker, text).after(text, waveform, self._sample_rate)


def doubtful(text: str, waveform: Waveform, sample_rate: int) -> bool:
    """Whether a passage is so short that it may have lost words, if nothing is known about the pace of its voice."""
    return spoken_seconds(waveform, sample_rate) < DOUBTFUL * speech_seconds(text)


def sentences(text: str) -> list[str]:
    """Return the sentences of a passage. Speaking them one by one measures the pace of its voice on its own words."""
    words = unwrap(text)
    ends = sentence_ends(words, 0, len(words))
    return [words[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]
