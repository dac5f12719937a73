"""Passages of speech, one after another, as one waveform: no clicks, no jumps of level.

Each passage is brought to one loudness, its peaks are limited and its ends faded to silence, so that a join is always
silence against silence. Nothing of a passage is held back and nothing of it is needed for the next, save one number:
the loudness. That is why an interrupted job can go on with the same samples it would have made.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..audio.levels import finite, level, loudness
from ..errors import BarkError

__all__ = ["Joiner", "loudness"]

FADE_SECONDS = 0.02  # no click, and gone before a consonant is: trimmed speech has 50 ms of silence around it
MAX_GAIN_DB = 12.0  # what is further off is another voice or another distance; more gain would raise its noise
SILENT_DBFS = -50.0  # a passage under this is left as it is: there is only noise to raise
SILENT_SECONDS = 0.1  # and so is one with less sound than any word has: a click
TARGET_DBFS = (-32.0, -16.0)  # a first passage beyond these is an outlier that all others should not have to follow
PEAK = 0.998  # 0.999 less what rounding to float32 may add
LOOKAHEAD_SECONDS = 0.01  # the limiter turns down over a period of the lowest voices, so that it is not distortion


class Joiner:
    """Joins passages as they come; what `add` returns, one after another, is the result.

    Args:
        sample_rate: in Hz.
        loudness: what every passage is brought to, gated, in dBFS. None: that of the first passage that is not silent,
            or the nearest within -32 to -16 dBFS.

    Raises BarkError for values that make no sense.
    """

    def __init__(self, sample_rate: int, *, loudness: float | None = None) -> None:
        if sample_rate < 1:
            raise BarkError(f"sample_rate must be at least 1, not {sample_rate}")
        if loudness is not None and not SILENT_DBFS <= loudness <= 0:
            raise BarkError(f"loudness must be {SILENT_DBFS:g} to 0 dBFS, not {loudness}")
        self._sample_rate = sample_rate
        self._loudness = loudness
        self._samples = 0

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """A joiner that goes on where another's `state` was taken, with the same samples. Raises BarkError."""
        if set(state) != {"sample_rate", "loudness", "samples"} or not (
            _whole(state["sample_rate"], 1)
            and _whole(state["samples"], 0)
            and (state["loudness"] is None or type(state["loudness"]) in (int, float))
        ):
            raise BarkError(f"not the state of a Joiner: {dict(state)}")
        joiner = cls(state["sample_rate"], loudness=state["loudness"])
        joiner._samples = state["samples"]
        return joiner

    @property
    def state(self) -> dict[str, int | float | None]:
        """All that the next passage depends on, for JSON: the loudness found so far, and the samples returned."""
        return {"sample_rate": self._sample_rate, "loudness": self._loudness, "samples": self._samples}

    def add(self, waveform: Waveform, pause: float) -> Waveform:
        """The next passage, ready: `pause` seconds of silence, then its samples, matched in loudness and faded.

        Args:
            waveform: [n] mono, full scale at 1. What is not a number becomes silence.
            pause: before this passage; 0 for the first.

        Returns float32 [round(pause * sample_rate) + n], peaks under 0.999. Raises BarkError for an impossible pause.
        """
        if not 0 <= pause < 3600:
            raise BarkError(f"pause must be 0 to 3600 seconds, not {pause}")
        passage = finite(waveform) * self._fades(len(waveform))
        measured = level(passage, self._sample_rate)
        if measured.loudness >= SILENT_DBFS and measured.active_seconds >= SILENT_SECONDS:
            if self._loudness is None:
                self._loudness = min(max(measured.loudness, TARGET_DBFS[0]), TARGET_DBFS[1])
            gain = min(max(self._loudness - measured.loudness, -MAX_GAIN_DB), MAX_GAIN_DB)
            passage *= 10 ** (gain / 20)
        silence = np.zeros(round(pause * self._sample_rate), np.float32)
        joined = np.concatenate([silence, limit(passage, self._sample_rate)])
        self._samples += len(joined)
        return joined

    def _fades(self, samples: int) -> NDArray[np.float64]:
        """[samples] of gain: a raised cosine up from silence, and down again. Half each of what is short."""
        length = min(round(FADE_SECONDS * self._sample_rate), (samples + 1) // 2)
        rise = np.sin(np.pi / 2 * (np.arange(length) + 0.5) / max(length, 1)) ** 2
        gain = np.ones(samples)
        gain[:length] = rise
        gain[samples - length :] *= rise[::-1]
        return gain


def limit(waveform: NDArray[np.float64], sample_rate: int, peak: float = PEAK) -> Waveform:
    """[n] samples with no peak over `peak`, as float32: turned down smoothly around those that are, else the same.

    The gain that each sample needs is held for the lookahead to both sides, then averaged over as much: so it is low
    enough where a peak is, and turns without a corner that could be heard.
    """
    magnitude = np.abs(waveform)
    if not magnitude.max(initial=0.0) > peak:
        return waveform.astype(np.float32)
    width = 2 * max(1, round(LOOKAHEAD_SECONDS * sample_rate)) + 1
    needed = np.pad(peak / magnitude.clip(min=peak), width - 1, constant_values=1.0)
    sums = np.cumsum(np.insert(_sliding_minimum(needed, width), 0, 0.0))
    gain = (sums[width:] - sums[:-width]) / width
    return (waveform * gain).clip(-peak, peak).astype(np.float32)  # the clip is for the rounding of the sums


def _sliding_minimum(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The minimum of every `width` neighbours: [n] -> [n - width + 1], by doubling."""
    count, covered = len(values) - width + 1, 1
    while 2 * covered <= width:
        values = np.minimum(values[:-covered], values[covered:])
        covered *= 2
    return np.minimum(values[:count], values[width - covered :][:count])


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
