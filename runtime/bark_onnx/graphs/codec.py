"""EnCodec's decoder on ONNX Runtime.

This file names the inputs and outputs of the codec's graph; the exporter takes the names from here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray, Waveform
from ..model.sizes import CodecSize, codec_state
from .decoder import PAST, PRESENT
from .device import Device
from .session import Graph, Memory, Shapes

CODEC_INPUTS = ("codes", "fresh")
WAVEFORM = "waveform"


def codec_state_names(prefix: str, size: CodecSize) -> list[str]:
    """The names of a codec graph's state tensors, in their order; the prefix is PAST or PRESENT."""
    return [f"{prefix}.{name}" for name in codec_state(size)]


@dataclass
class CodecState:
    """The tensors of `codec_state` after a chunk, which the next chunk begins with.

    Each row is an utterance of its own and has a few thousand numbers.
    """

    arrays: list[NDArray[np.float32]]  # each [rows, ...]


class CodecDecoder:
    """EnCodec's decoder. It is causal: an utterance can be decoded whole or in chunks, and several in one run."""

    def __init__(self, path: Path, size: CodecSize, device: Device) -> None:
        self.size = size
        shapes = [(np.float32, (None, *shape)) for shape in codec_state(size).values()]
        self._past, self._present = (codec_state_names(prefix, size) for prefix in (PAST, PRESENT))
        codes, fresh = (np.int64, (None, size.codebooks, None)), (np.bool_, (None,))
        inputs: Shapes = dict(zip((*CODEC_INPUTS, *self._past), (codes, fresh, *shapes), strict=True))
        waveform = (np.float32, (None, None))
        outputs = {WAVEFORM: waveform, **dict(zip(self._present, shapes, strict=True))}
        self._graph = Graph(path, device, inputs, outputs)

    def new_state(self, rows: int) -> CodecState:
        """The state of rows that have decoded nothing yet; their first chunk must be `fresh`."""
        return CodecState([np.zeros((rows, *shape), np.float32) for shape in codec_state(self.size).values()])

    def decode_chunk(self, state: CodecState, codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Decode the next frames of several utterances, and update the state.

        Args:
            state: of the same rows, after their chunk before.
            codes: fine codes [rows, codebooks, T], T at least 1.
            fresh: [rows], whether an utterance begins with this chunk; the row's state is then ignored. A first chunk
                that others follow must have at least `size.first_frames` frames.

        Returns:
            The waveforms [rows, T * frame_samples] of these frames, full scale at 1.
        """
        rows, _, frames = codes.shape
        waveform = np.empty((rows, frames * self.size.frame_samples), np.float32)
        present = [np.empty_like(array) for array in state.arrays]
        arrays = np.ascontiguousarray(codes, np.int64), np.ascontiguousarray(fresh, np.bool_), *state.arrays
        inputs = dict(zip((*CODEC_INPUTS, *self._past), map(Memory.of, arrays), strict=True))
        outputs = dict(zip((WAVEFORM, *self._present), map(Memory.of, (waveform, *present)), strict=True))
        self._graph.bind(inputs, outputs).run()
        state.arrays = present
        return waveform

    def decode(self, codes: IntArray) -> Waveform:
        """Fine codes [codebooks, T] of a whole utterance -> waveform [T * frame_samples], full scale at 1."""
        waveform: Waveform = self.decode_chunk(self.new_state(1), codes[None], np.ones(1, np.bool_))[0]
        return waveform
