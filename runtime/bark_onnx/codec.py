"""The codec stage: fine codes -> waveform (reference: `codec_decode`)."""

import numpy as np
from numpy.typing import NDArray

from .arrays import IntArray
from .models import CodecDecoder


def waveform(decoder: CodecDecoder, codes: IntArray) -> NDArray[np.float32]:
    """Fine codes [codebooks, T] -> the whole waveform [T * frame_samples], full scale at 1, mono."""
    return decoder.decode(codes)
