"""Measure how loud a waveform is: the RMS of frames of 20 ms, gated so that pauses do not count.

Levels are in dBFS, relative to an RMS of 1. A full-scale sine has -3 dBFS, Bark's speech mostly -30 to -15.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, Waveform

FRAME_SECONDS = 0.02  # much shorter than a syllable, much longer than a period of the voice
FLOOR_DBFS = -60.0  # quieter frames are not speech, also in a quiet recording: the codec's noise has about -70
SPEECH_RANGE_DB = 30.0  # consonants are up to this much quieter than vowels; a frame that is quieter is not speech
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


def sound_stretches(waveform: Waveform, sample_rate: int, bridged_seconds: float) -> NDArray[np.int64]:
    """Find the stretches of sound: [k, 2], first sample and end of each.

    A frame has sound if it is at most 30 dB below the gated loudness, and above the floor. If a recording has pauses
    with louder noise than that, all of it counts as sound.

    Args:
        waveform: [n] samples, all finite.
        bridged_seconds: silences up to this long do not separate stretches.
    """
    levels = frame_levels(waveform, sample_rate)
    sound = np.flatnonzero(levels > max(level(waveform, sample_rate).loudness - SPEECH_RANGE_DB, FLOOR_DBFS))
    if not len(sound):
        return np.empty((0, 2), np.int64)
    frame = frame_length(sample_rate)
    breaks = np.flatnonzero((np.diff(sound) - 1) * frame > bridged_seconds * sample_rate)
    firsts = sound[np.append(0, breaks + 1)] * frame
    ends = (sound[np.append(breaks, len(sound) - 1)] + 1) * frame
    return np.stack([firsts, ends.clip(max=len(waveform))], axis=1)


def _mean(levels: NDArray[np.float64]) -> float:
    """Return the level of the mean power of levels in dBFS."""
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def finite(waveform: FloatArray) -> Waveform:
    """Return [n] samples as float32, with 0 instead of NaN and full scale (1 or -1) instead of infinity."""
    return np.nan_to_num(np.asarray(waveform, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
