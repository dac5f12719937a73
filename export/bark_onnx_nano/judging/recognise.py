"""Count word errors with an independent recogniser, pocketsphinx, with bootstrap confidence intervals."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ..text.words import words_of

_RATE = 16_000


@dataclass(frozen=True)
class WordErrors:
    """The errors and the reference words of each sentence."""

    errors: list[int]
    words: list[int]

    @property
    def rate(self) -> float:
        return sum(self.errors) / max(1, sum(self.words))

    def __add__(self, again: "WordErrors") -> "WordErrors":
        """Add the errors of the same sentences spoken once more.

        The number of sentences stays the same, because the bootstrap draws sentences.
        """
        return WordErrors(
            [a + b for a, b in zip(self.errors, again.errors, strict=True)],
            [a + b for a, b in zip(self.words, again.words, strict=True)],
        )

    def interval(self, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
        """Return the 95 % confidence interval of the rate, by bootstrap over sentences."""
        errors, words = np.array(self.errors), np.array(self.words)
        picks = np.random.default_rng(seed).integers(0, len(errors), (draws, len(errors)))
        rates = errors[picks].sum(1) / words[picks].sum(1)
        low, high = np.quantile(rates, (0.025, 0.975))
        return float(low), float(high)


@cache
def _decoder() -> Any:
    from pocketsphinx import Decoder

    return Decoder(samprate=_RATE, loglevel="FATAL")


def recognise(samples: NDArray[np.floating], sample_rate: int) -> str:
    """Return the text that the recogniser finds in samples of full scale 1."""
    resampled = resample_poly(samples.astype(np.float64), _RATE, sample_rate)
    silence = np.zeros(_RATE // 5)
    pcm = np.concatenate([silence, resampled, silence]) * 32767
    decoder = _decoder()
    decoder.start_utt()
    decoder.process_raw(np.clip(pcm, -32768, 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def word_errors(references: Sequence[str], recognised: Sequence[str]) -> WordErrors:
    """Compare texts word by word, without case and punctuation."""
    pairs = [(words_of(reference), words_of(text)) for reference, text in zip(references, recognised, strict=True)]
    return WordErrors([distance(a, b) for a, b in pairs], [len(a) for a, _ in pairs])


def distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Return the Levenshtein distance: the fewest insertions, deletions and substitutions."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
