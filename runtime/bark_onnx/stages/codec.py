"""The codec stage of a stream: fine codes -> waveform in chunks, as the codes come (reference: `codec_decode`).

For a whole utterance see `CodecDecoder.decode`.
"""

import numpy as np

from ..arrays import IntArray, Waveform
from ..graphs.codec import CodecDecoder, CodecState


class WaveformStream:
    """Decodes utterances one after another, in chunks of any size. The chunks join to the whole waveform (to 1e-5).

    The first samples come with frame `first_frames` (published: 7, or 93 ms). From then on each push returns the
    samples of its own frames.
    """

    def __init__(self, decoder: CodecDecoder) -> None:
        self._decoder = decoder
        self._state: CodecState | None = None  # of the utterance that has begun
        self._waiting = self._no_codes = np.zeros((decoder.size.codebooks, 0), np.int64)

    def push(self, codes: IntArray) -> Waveform:
        """Add fine codes [codebooks, n], n at least 0; returns the samples that can be decoded now."""
        self._waiting = np.concatenate([self._waiting, codes], axis=1)
        enough = self._decoder.size.first_frames if self._state is None else 1
        return self._decode() if self._waiting.shape[1] >= enough else np.zeros(0, np.float32)

    def finish(self) -> Waveform:
        """End the utterance; returns its samples if it was too short for any before. The next push begins another."""
        rest = self._decode() if self._waiting.shape[1] else np.zeros(0, np.float32)
        self._state = None
        return rest

    def _decode(self) -> Waveform:
        # A new state takes memory on the device, which only the work on graphs may do: see TURNS in graphs/cuda.py.
        state, begins = self._state or self._decoder.new_state(1), np.array([self._state is None])
        decoded: Waveform = self._decoder.decode_chunk(state, self._waiting[None], begins)[0]
        self._state, self._waiting = state, self._no_codes
        return decoded
