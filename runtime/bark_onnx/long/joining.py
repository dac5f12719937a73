"""Join passages of speech into one waveform, without clicks and without jumps in loudness, while they are generated.

The first passage keeps its loudness. Every later one gets the same loudness, its peaks are limited, and both its ends
fade to silence. A passage depends on the ones before it in one number only, the loudness. So a job that was interrupted
continues with the same samples.
"""

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..audio.levels import Level, finite, level
from ..errors import BarkError
from ..numbers import real, whole

MEASURED_SECONDS = 2.0  # of the beginning of a passage: they tell how loud it is
MAX_GAIN_DB = 12.0  # a passage that is further from the loudness may be another voice; more gain would raise its noise
SILENT_DBFS = -50.0  # a passage quieter than this is not changed, since it has nothing but noise
SILENT_SECONDS = 0.1  # a passage with less sound than this is not changed, since it has no word in it
PEAK = 0.998  # 0.999 minus the largest rounding error of float32
LOOKAHEAD_SECONDS = 0.01  # one period of the lowest voices: a limiter that is faster distorts
FADE_SECONDS = 2 * LOOKAHEAD_SECONDS  # prevents clicks; it needs no more samples in advance than the limiter

_UNIT = 1 << 40  # gains are whole multiples of 1 / _UNIT, whose sums are exact: see Limiter


class Joiner:
    """Joins passages. The waveforms of all passages, one after the other, are the joined speech.

    All passages get the gated loudness of the first passage that is not silent. Loudness is that of the first two
    seconds, since a passage must not wait for its end to be heard.

    Args:
        sample_rate: in Hz.

    Raises BarkError if the sample rate is less than 1.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = whole("sample_rate", sample_rate)
        if self.sample_rate < 1:
            raise BarkError(f"sample_rate must be at least 1, not {sample_rate}")
        self.loudness: float | None = None  # in dBFS; None until a passage is not silent

    def begin(self, pause: float, *, waits: bool = True) -> "JoinedPassage":
        """Begin the next passage.

        Args:
            pause: seconds of silence before it; 0 for the first.
            waits: return nothing until its loudness is known; else it keeps its loudness.

        Raises BarkError for an impossible pause.
        """
        pause = real("pause", pause)
        if not 0 <= pause < 3600:
            raise BarkError(f"pause must be 0 to 3600 seconds, not {pause}")
        return JoinedPassage(self, round(pause * self.sample_rate), waits=waits)

    def add(self, waveform: Waveform, pause: float) -> Waveform:
        """Return a whole passage: `pause` seconds of silence, then its samples with the common loudness and fades.

        Args:
            waveform: [n] mono, full scale at 1. NaN becomes 0.
            pause: seconds before this passage; 0 for the first.

        Returns float32 [round(pause * sample_rate) + n] with peaks under 0.999. Raises BarkError for an impossible
        pause.
        """
        passage = self.begin(pause)
        return np.concatenate([passage.push(waveform), passage.finish()])


class JoinedPassage:
    """A passage while it is joined: make one with `Joiner.begin`.

    What `push` and `finish` return does not depend on the pieces in which the samples come.
    """

    def __init__(self, joiner: Joiner, pause: int, *, waits: bool) -> None:
        self._joiner = joiner
        self._pause = pause  # samples that have not been returned
        self._rate = joiner.sample_rate
        self._measured = np.empty(0, np.float32)  # the beginning, while its loudness is not known
        self._waits = waits and joiner.loudness is not None  # for the loudness of the beginning; else its gain is 1
        self._gain: float | None = None if self._waits else 1.0
        self._level_known = False
        self._limiter = Limiter(self._rate)
        self._rise = _rise(2 * max(1, round(LOOKAHEAD_SECONDS * self._rate)))
        self._returned = 0  # samples of the passage, without the pause

    def push(self, waveform: Waveform) -> Waveform:
        """Take the next samples [n], mono, full scale at 1. Returns samples that are ready, perhaps none."""
        return self._faded(self._limiter.push(self._loud(finite(waveform), last=False)), last=False)

    def finish(self) -> Waveform:
        """Return the samples that were held back, with the fade at the end."""
        ready = self._limiter.push(self._loud(np.empty(0, np.float32), last=True))
        return self._faded(np.concatenate([ready, self._limiter.finish()]), last=True)

    def _loud(self, waveform: Waveform, *, last: bool) -> NDArray[np.float64]:
        """Apply the gain, once it is known."""
        if not self._level_known:
            self._measured = np.concatenate([self._measured, waveform])
            count = round(MEASURED_SECONDS * self._rate)
            if len(self._measured) >= count or last:
                self._level_known = True
                self._set_gain(level(self._measured[:count], self._rate))
                waveform = self._measured if self._waits else waveform
                self._measured = np.empty(0, np.float32)
        if self._gain is None:
            return np.empty(0)
        return waveform * np.float64(self._gain)

    def _set_gain(self, measured: Level) -> None:
        speaks = measured.loudness >= SILENT_DBFS and measured.active_seconds >= SILENT_SECONDS
        if self._joiner.loudness is None:
            self._joiner.loudness = measured.loudness if speaks else None
        elif self._waits:
            change = self._joiner.loudness - measured.loudness if speaks else 0.0
            self._gain = 10 ** (min(max(change, -MAX_GAIN_DB), MAX_GAIN_DB) / 20)

    def _faded(self, waveform: Waveform, *, last: bool) -> Waveform:
        """The pause before the first samples, and the fades at both ends of the passage."""
        fade = len(self._rise)
        rising = min(len(waveform), max(0, fade - self._returned))
        waveform[:rising] *= self._rise[self._returned : self._returned + rising]
        if last:  # the limiter has held back as many samples as the fade has, or all
            falling = min(len(waveform), fade)
            waveform[len(waveform) - falling :] *= self._rise[:falling][::-1]
        self._returned += len(waveform)
        if not len(waveform) and not last:
            return waveform
        silence, self._pause = np.zeros(self._pause, np.float32), 0
        return np.concatenate([silence, waveform])


class Limiter:
    """Limits the peaks of a waveform. Samples far from a peak that is too high do not change.

    Each sample needs a gain. The minimum of the gains is taken over the lookahead on both sides, and that is averaged
    over the same length. So the gain is low enough at every peak, and changes smoothly. Gains are whole numbers, whose
    sums are exact; so the result does not depend on the pieces in which the samples come.

    Args:
        sample_rate: in Hz.
        peak: the largest magnitude.
    """

    def __init__(self, sample_rate: int, peak: float = PEAK) -> None:
        self._peak = peak
        self._width = 2 * max(1, round(LOOKAHEAD_SECONDS * sample_rate)) + 1
        self._gains = np.full(self._width - 1, _UNIT)  # of the samples that later ones depend on
        self._held = np.empty(0)  # samples that depend on later ones: at most 20 ms

    def push(self, waveform: NDArray[np.float64]) -> Waveform:
        """Take the next samples [n]. Returns those that depend on no later ones, as float32."""
        needed = self._peak / np.abs(waveform).clip(min=self._peak)
        return self._limit(waveform, np.floor(needed * _UNIT).astype(np.int64))

    def finish(self) -> Waveform:
        """Return the samples that were held back."""
        return self._limit(np.empty(0), np.full(self._width - 1, _UNIT))

    def _limit(self, waveform: NDArray[np.float64], gains: NDArray[np.int64]) -> Waveform:
        self._held = np.concatenate([self._held, waveform])
        gains = np.concatenate([self._gains, gains])
        count = max(0, len(gains) - 2 * (self._width - 1))
        self._gains = gains[count:]
        samples, self._held = self._held[:count], self._held[count:]
        if not count:
            return np.empty(0, np.float32)
        if gains.min() < _UNIT:
            sums = np.cumsum(np.insert(_sliding_minimum(gains, self._width), 0, 0))
            gain = (sums[self._width :] - sums[: -self._width]) / (self._width * _UNIT)
            samples = (samples * gain).clip(-self._peak, self._peak)
        return samples.astype(np.float32)


def _rise(samples: int) -> NDArray[np.float32]:
    """Return gains [samples]: a raised cosine from 0 to 1."""
    rise: NDArray[np.float32] = (np.sin(np.pi / 2 * (np.arange(samples) + 0.5) / samples) ** 2).astype(np.float32)
    return rise


def _sliding_minimum(values: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return the minimum of every `width` neighbours, [n] -> [n - width + 1], by doubling the width."""
    count, covered = len(values) - width + 1, 1
    while 2 * covered <= width:
        values = np.minimum(values[:-covered], values[covered:])
        covered *= 2
    return np.minimum(values[:count], values[width - covered :][:count])
