"""The codec stage: fine codes -> waveform (reference: `codec_decode`), for several utterances at once or in chunks.

For one whole utterance see `CodecDecoder.decode`.
"""

from collections.abc import Sequence

import numpy as np

from ..arrays import IntArray, Waveform
from ..graphs.codec import CodecDecoder


def waveforms(decoder: CodecDecoder, codes: Sequence[IntArray]) -> list[Waveform]:
    """The waveforms of several utterances, each fine codes [codebooks, T], with one run of the decoder.

    Shorter utterances are padded at the end. The decoder is causal, so padding changes nothing before it, with one
    exception: the beginning of an utterance is reflected from its first `first_frames` frames. An utterance with fewer
    frames therefore runs alone.
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
            # A view would keep the whole batch in memory.
            results[row] = decoded[place, : lengths[row] * decoder.size.frame_samples].copy()
    return [results[row] for row in range(len(codes))]


class WaveformStream:
    """Decodes utterances one after another, in chunks of any size. The chunks join to the whole waveform (to 1e-5).

    The first samples come with frame `first_frames` (published: 7, or 93 ms). From then on each push returns the
    samples of its own frames.
    """

    def __init__(self, decoder: CodecDecoder) -> None:
        self._decoder = decoder
        self._state = decoder.new_state(1)
        self._fresh = True
        self._waiting = self._no_codes = np.zeros((decoder.size.codebooks, 0), np.int64)

    def push(self, codes: IntArray) -> Waveform:
        """Add fine codes [codebooks, n], n at least 0; returns the samples that can be decoded now."""
        self._waiting = np.concatenate([self._waiting, codes], axis=1)
        enough = self._decoder.size.first_frames if self._fresh else 1
        return self._decode() if self._waiting.shape[1] >= enough else np.zeros(0, np.float32)

    def finish(self) -> Waveform:
        """End the utterance; returns its samples if it was too short for any before. The next push begins another."""
        rest = self._decode() if self._waiting.shape[1] else np.zeros(0, np.float32)
        self._fresh = True
        return rest

    def _decode(self) -> Waveform:
        decoded: Waveform = self._decoder.decode_chunk(self._state, self._waiting[None], np.array([self._fresh]))[0]
        self._fresh = False
        self._waiting = self._no_codes
        return decoded
