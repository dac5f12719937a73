"""The codec stage of a stream: fine codes -> waveform in chunks, as the codes come (reference: `codec_decode`).

For a whole utterance see `CodecDecoder.decode`.
"""

import numpy as np

from ..arrays import IntArray, Waveform
from ..graphs.codec import CodecDecoder


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
