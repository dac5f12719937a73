"""Measure how loud a waveform is: the RMS of frames of 20 ms, gated so that pauses do not count.

Levels are in dBFS, relative to an RMS of 1. A full-scale sine has -3 dBFS, Bark's speech mostly -30 to -15.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, Waveform

FRAME_SECONDS = 0.02  # much shorter than a syllable, much longer than a period of the voice
FLOOR_DBFS = -60.0  # quieter frames are not speech, also in a quiet recording: the codec's noise has about -70
GATE_DB = 16.0  # frames that are quieter than the mean by more than this are pauses (margin of ITU-T P.56)


@dataclass(frozen=True)
class Level:
    """The loudness of a waveform.

    Args:
        loudness: gated loudness in dBFS; -inf if no frame is active.
        active_seconds: total length of the active frames.
    """

    loudness: float
    active_seconds: float


def frame_levels(waveform: FloatArray, sample_rate: int) -> NDArray[np.float64]:
    """Return the RMS of each frame of 20 ms in dBFS: [n] samples -> [ceil(n / frame)]. Digital silence has -200.

    The last frame may be shorter than the others.
    """
    if not len(waveform):
        return np.empty(0)
    starts = np.arange(0, len(waveform), frame_length(sample_rate))
    power = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    power /= np.diff(starts, append=len(waveform))
    levels: NDArray[np.float64] = 10 * np.log10(power.clip(min=1e-20))
    return levels


def frame_length(sample_rate: int) -> int:
    """Return how many samples a frame has."""
    return max(1, round(FRAME_SECONDS * sample_rate))


def level(waveform: FloatArray, sample_rate: int) -> Level:
    """Measure [n] samples: the mean power of the active frames, which are louder than the floor and the gate.

    The gate is 16 dB below the mean of all frames over the floor, so that pauses and the noise in them do not count.
    """
    return level_of(frame_levels(waveform, sample_rate))


def level_of(levels: NDArray[np.float64]) -> Level:
    """Return the `level` of a waveform whose frames have these levels, in dBFS."""
    over_floor = levels[levels > FLOOR_DBFS]
    if not len(over_floor):
        return Level(-np.inf, 0.0)
    active = over_floor[over_floor > _mean(over_floor) - GATE_DB]
    return Level(_mean(active), len(active) * FRAME_SECONDS)


def _mean(levels: NDArray[np.float64]) -> float:
    """Return the level of the mean power of levels in dBFS."""
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def finite(waveform: FloatArray) -> Waveform:
    """Return [n] samples as float32, with 0 instead of NaN and full scale (1 or -1) instead of infinity."""
    return np.nan_to_num(np.asarray(waveform, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)


def stretches(waveform: Waveform, sample_rate: int) -> list[tuple[float, float]]:
    """Return the whole waveform as one stretch of sound."""
    return [(0.0, len(waveform) / sample_rate)]
