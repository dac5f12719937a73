"""Another sample rate, piece by piece."""

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Waveform
from .levels import finite

if TYPE_CHECKING:
    from soxr import ResampleStream


class Resampler:
    """Converts samples to another rate with soxr. What `push` and `finish` return, one after another, is the result.

    The samples do not depend on the pieces in which they came. They are not delayed: the first sample of the result
    belongs to the first sample that came. But the filter reads ahead: from 24 kHz to 8 kHz, `push` returns nothing for
    the first 80 ms; to 16 or 48 kHz, for the first 40 ms.

    Args:
        input_rate, output_rate: in Hz. If they are equal, the samples are passed on as they are.
    """

    def __init__(self, input_rate: int, output_rate: int) -> None:
        self._stream: ResampleStream | None = None
        if input_rate != output_rate:
            import soxr  # not at the top: most speech is not resampled

            self._stream = soxr.ResampleStream(input_rate, output_rate, 1, dtype="float32")

    def push(self, waveform: Waveform) -> Waveform:
        """Take the next samples [n], and return those that are ready. NaN counts as silence."""
        return self._resample(finite(waveform), last=False)

    def finish(self) -> Waveform:
        """Return the samples that remain. Nothing may be pushed after that."""
        return self._resample(np.zeros(0, np.float32), last=True)

    def _resample(self, waveform: Waveform, *, last: bool) -> Waveform:
        if self._stream is None:
            return waveform
        resampled: Waveform = self._stream.resample_chunk(waveform, last=last)
        return resampled
