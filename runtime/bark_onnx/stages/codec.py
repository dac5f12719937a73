"""The codec stage: fine codes -> waveform (reference: `codec_decode`), whole, in chunks, or several at once."""

from collections.abc import Sequence

import numpy as np

from ..arrays import IntArray, Waveform
from ..graphs.models import CodecDecoder


def waveform(decoder: CodecDecoder, codes: IntArray) -> Waveform:
    """Fine codes [codebooks, T] -> the whole waveform [T * frame_samples], full scale at 1, mono."""
    return decoder.decode(codes)


def waveforms(decoder: CodecDecoder, codes: Sequence[IntArray]) -> list[Waveform]:
    """Several utterances, each fine codes [codebooks, its own T], in one run -> their waveforms, in the same order.

    The decoder is causal: what stands behind an utterance's end, to make it as long as the longest, changes nothing.
    But an utterance of fewer than `first_frames` frames would have its beginning reflected from there: it runs alone.
    """
    lengths = [part.shape[1] for part in codes]
    together = [row for row, length in enumerate(lengths) if length >= decoder.size.first_frames]
    results = {row: decoder.decode(codes[row]) for row in range(len(codes)) if row not in together}
    if together:
        longest = max(lengths[row] for row in together)
        batch = np.zeros((len(together), decoder.size.codebooks, longest), np.int64)
        for place, row in enumerate(together):
            batch[place, :, : lengths[row]] = codes[row]
        decoded = decoder.decode_chunk(decoder.new_state(len(batch)), batch, np.ones(len(batch), np.bool_))
        for place, row in enumerate(together):
            # A copy, so that one waveform that is kept does not keep the whole batch.
            results[row] = decoded[place, : lengths[row] * decoder.size.frame_samples].copy()
    return [results[row] for row in range(len(codes))]


class WaveformStream:
    """One utterance after the other in chunks of any size; joined, an utterance's are its whole waveform (to 1e-5).

    Nothing comes before `first_frames` frames are there (published: 7, or 93 ms), then each push's own samples at once.
    """

    def __init__(self, decoder: CodecDecoder) -> None:
        self._decoder = decoder
        self._state = decoder.new_state(1)
        self._fresh = True
        self._waiting = self._nothing = np.zeros((decoder.size.codebooks, 0), np.int64)

    def push(self, codes: IntArray) -> Waveform:
        """The next fine codes [codebooks, n], n from 0 -> the samples that they make known."""
        self._waiting = np.concatenate([self._waiting, codes], axis=1)
        enough = self._decoder.size.first_frames if self._fresh else 1
        return self._decode() if self._waiting.shape[1] >= enough else np.zeros(0, np.float32)

    def finish(self) -> Waveform:
        """End the utterance -> the samples that are left, if it was too short for any before. A push begins another."""
        rest = self._decode() if self._waiting.shape[1] else np.zeros(0, np.float32)
        self._fresh = True
        return rest

    def _decode(self) -> Waveform:
        decoded = self._decoder.decode_chunk(self._state, self._waiting[None], np.array([self._fresh]))
        self._fresh = False
        self._waiting = self._nothing
        return decoded[0]  # type: ignore[no-any-return]
