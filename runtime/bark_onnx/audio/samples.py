"""Samples as 16-bit integers, and the header of a WAV file.

Where samples have 16 bits (WAV, FLAC, PCM) they are the same everywhere: full scale is 32768, rounded to nearest.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from .levels import finite

UNKNOWN = 0xFFFF_FFFF  # the size that ffmpeg writes to a pipe; ffmpeg and sox read such a stream to its end
WAV_HEADER_BYTES = 44
MOST_WAV_BYTES = 2**32 - 1 + 8  # of a file with 32-bit sizes: 24.8 hours at 24 kHz


def int16(waveform: Waveform) -> NDArray[np.int16]:
    """[n] samples as signed 16-bit: clipped, rounded to nearest; NaN becomes silence."""
    scaled: NDArray[np.float32] = np.rint(finite(waveform) * np.float32(32768))
    return scaled.clip(-32768, 32767).astype(np.int16)


def pcm(waveform: Waveform) -> bytes:
    """[n] samples as little-endian signed 16-bit: clipped, rounded to nearest; NaN becomes silence."""
    return int16(waveform).astype("<i2").tobytes()


def wav_header(sample_rate: int, data_bytes: int | None = None) -> bytes:
    """The 44 bytes before the samples of a WAV file, mono and 16-bit.

    Args:
        sample_rate: in Hz.
        data_bytes: length of the samples. None: unknown, as at the beginning of a stream.
    """
    riff_bytes = UNKNOWN if data_bytes is None else WAV_HEADER_BYTES - 8 + data_bytes
    return (
        struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        + struct.pack("<4sI", b"data", UNKNOWN if data_bytes is None else data_bytes)
    )
