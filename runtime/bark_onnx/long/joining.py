"""Join passages of speech into one waveform, without clicks and without jumps in loudness.

Every passage gets the same loudness, its peaks are limited, and both its ends fade to silence. A passage depends on the
ones before it in one number only, the loudness. So a job that was interrupted continues with the same samples.
"""

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..audio.levels import finite, level
from ..errors import BarkError
from ..numbers import real, whole

FADE_SECONDS = 0.02  # prevents clicks; trimmed speech has 50 ms of silence at its ends, so no consonant is faded
MAX_GAIN_DB = 12.0  # a passage that is further from the loudness may be another voice; more gain would raise its noise
SILENT_DBFS = -50.0  # a passage quieter than this is not changed, since it has nothing but noise
SILENT_SECONDS = 0.1  # a passage with less sound than this is not changed, since it has no word in it
TARGET_DBFS = (-32.0, -16.0)  # the loudness lies between these, also if the first passage does not
PEAK = 0.998  # 0.999 minus the largest rounding error of float32
LOOKAHEAD_SECONDS = 0.01  # one period of the lowest voices: a limiter that is faster distorts


class Joiner:
    """Joins passages. The waveforms that `add` returns, one after the other, are the joined speech.

    All passages get the gated loudness of the first passage that is not silent, or the nearest within -32 to -16 dBFS.

    Args:
        sample_rate: in Hz.

    Raises BarkError if the sample rate is less than 1.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = whole("sample_rate", sample_rate)
        if self._sample_rate < 1:
            raise BarkError(f"sample_rate must be at least 1, not {sample_rate}")
        self._loudness: float | None = None  # in dBFS; None until a passage is not silent

    def add(self, waveform: Waveform, pause: float) -> Waveform:
        """Return the next passage: `pause` seconds of silence, then its samples with the common loudness and fades.

        Args:
            waveform: [n] mono, full scale at 1. NaN becomes 0.
            pause: seconds before this passage; 0 for the first.

        Returns float32 [round(pause * sample_rate) + n] with peaks under 0.999. Raises BarkError for an impossible
        pause.
        """
        pause = real("pause", pause)
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
        return np.concatenate([silence, limit(passage, self._sample_rate)])

    def _fades(self, samples: int) -> NDArray[np.float64]:
        """Return gains [samples]: a raised cosine from 0 to 1 at the start, and back at the end.

        If a passage is shorter than two fades, each fade takes half of it.
        """
        length = min(round(FADE_SECONDS * self._sample_rate), (samples + 1) // 2)
        rise = np.sin(np.pi / 2 * (np.arange(length) + 0.5) / max(length, 1)) ** 2
        gain = np.ones(samples)
        gain[:length] = rise
        gain[samples - length :] *= rise[::-1]
        return gain


def limit(waveform: NDArray[np.float64], sample_rate: int, peak: float = PEAK) -> Waveform:
    """Limit the peaks of [n] samples to `peak`, as float32. Samples far from a peak that is too high do not change.

    Each sample needs a gain. The minimum of the gains is taken over the lookahead on both sides, and that is averaged
    over the same length. So the gain is low enough at every peak, and changes smoothly.
    """
    magnitude = np.abs(waveform)
    if not magnitude.max(initial=0.0) > peak:
        return waveform.astype(np.float32)
    width = 2 * max(1, round(LOOKAHEAD_SECONDS * sample_rate)) + 1
    needed = np.pad(peak / magnitude.clip(min=peak), width - 1, constant_values=1.0)
    sums = np.cumsum(np.insert(_sliding_minimum(needed, width), 0, 0.0))
    gain = (sums[width:] - sums[:-width]) / width
    return (waveform * gain).clip(-peak, peak).astype(np.float32)  # the clip removes rounding errors of the sums


def _sliding_minimum(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the minimum of every `width` neighbours, [n] -> [n - width + 1], by doubling the width."""
    count, covered = len(values) - width + 1, 1
    while 2 * covered <= width:
        values = np.minimum(values[:-covered], values[covered:])
        covered *= 2
    return np.minimum(values[:count], values[width - covered :][:count])
