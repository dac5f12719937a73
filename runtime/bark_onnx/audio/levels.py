"""How loud a waveform is: RMS in frames of 20 ms, gated so that pauses do not count.

Levels are in dBFS, relative to an RMS of 1: a full-scale sine is at -3, Bark's speech mostly between -30 and -15.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, Waveform

FRAME_SECONDS = 0.02  # short against a syllable, long against a period of the voice
FLOOR_DBFS = -60.0  # nothing below is speech, however quiet the rest: the codec's own noise lies around -70
GATE_DB = 16.0  # a frame is active down to this far under the mean: the margin of ITU-T P.56, active speech level


@dataclass(frozen=True)
class Level:
    """What was measured: gated loudness in dBFS, -inf where no frame is active, and the seconds of active frames."""

    loudness: float
    active_seconds: float


def frame_levels(waveform: FloatArray, sample_rate: int) -> NDArray[np.float64]:
    """The RMS of each frame of 20 ms, in dBFS: [ceil(n / frame)], the last frame as short as it is. Silence is -200."""
    if not len(waveform):
        return np.empty(0)
    starts = np.arange(0, len(waveform), frame_length(sample_rate))
    power = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    power /= np.diff(starts, append=len(waveform))
    levels: NDArray[np.float64] = 10 * np.log10(power.clip(min=1e-20))
    return levels


def frame_length(sample_rate: int) -> int:
    """Samples of a frame."""
    return max(1, round(FRAME_SECONDS * sample_rate))


def level(waveform: FloatArray, sample_rate: int) -> Level:
    """Measure [n] samples: the mean power of the active frames, which are those over the floor and over the gate.

    The gate lies 16 dB under the mean of all frames over the floor: pauses, and the noise in them, do not count.
    """
    levels = frame_levels(waveform, sample_rate)
    over_floor = levels[levels > FLOOR_DBFS]
    if not len(over_floor):
        return Level(-np.inf, 0.0)
    active = over_floor[over_floor > _mean(over_floor) - GATE_DB]
    return Level(_mean(active), len(active) * FRAME_SECONDS)


def loudness(waveform: FloatArray, sample_rate: int) -> float:
    """Gated loudness of [n] samples in dBFS; -inf for silence."""
    return level(waveform, sample_rate).loudness


def _mean(levels: NDArray[np.float64]) -> float:
    """The level of the mean power."""
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def finite(waveform: FloatArray) -> Waveform:
    """[n] samples as float32, with silence for what is not a number and full scale for what is infinite."""
    return np.nan_to_num(np.asarray(waveform, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
