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
from .memory import Memory
from .session import Graph, Shapes

CODEC_INPUTS = ("codes", "fresh")
WAVEFORM = "waveform"

# Frames in one run of the graph, whose buffers take a third of a megabyte for each. 15 s of the published codec on two
# cores: 0.42 s in runs of 64 frames (of 16: 0.48, of 32: 0.44, of 128: 0.42) and 0.51 s in a single run, which does not
# fit in the processor's caches. The single run takes 375 MB, runs of 64 frames take 9 to 23 MB.
RUN_FRAMES = 64


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
    """EnCodec's decoder. It is causal: an utterance can be decoded whole or in chunks, and several together."""

    def __init__(self, path: Path, size: CodecSize, device: Device) -> None:
        self.size = size
        self._fills_runs = device.memory != "cpu"
        shapes = [(np.float32, (None, *shape)) for shape in codec_state(size).values()]
        self._past, self._present = (codec_state_names(prefix, size) for prefix in (PAST, PRESENT))
        codes, fresh = (np.int64, (None, size.codebooks, None)), (np.bool_, (None,))
        inputs: Shapes = dict(zip((*CODEC_INPUTS, *self._past), (codes, fresh, *shapes), strict=True))
        waveform = (np.float32, (None, None))
        outputs = {WAVEFORM: waveform, **dict(zip(self._present, shapes, strict=True))}
        self._graph = Graph(path, device, inputs, outputs)

    @property
    def _run_frames(self) -> int:
        """The most frames of one run."""
        return max(RUN_FRAMES, self.size.first_frames)

    def new_state(self, rows: int) -> CodecState:
        """The state of rows that have decoded nothing yet; their first chunk must be `fresh`."""
        return CodecState([np.zeros((rows, *shape), np.float32) for shape in codec_state(self.size).values()])

    def decode_chunk(self, state: CodecState, codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Decode the next frames of several utterances, and update the state.

        The graph runs over at most RUN_FRAMES frames at a time, so its memory does not grow with T.

        Args:
            state: of the same rows, after their chunk before. A failed call does not change it.
            codes: fine codes [rows, codebooks, T], T at least 1.
            fresh: [rows], whether an utterance begins with this chunk; the row's state is then ignored. A first chunk
                that others follow must have at least `size.first_frames` frames.

        Returns:
            The waveforms [rows, T * frame_samples] of these frames, full scale at 1.
        """
        rows, _, frames = codes.shape
        samples, run = self.size.frame_samples, self._run_frames
        waveform = np.empty((rows, frames * samples), np.float32)
        past = state.arrays
        for start in range(0, frames, run):
            end = min(start + run, frames)
            waveform[:, start * samples : end * samples], past = self._run(past, codes[..., start:end], fresh)
            fresh = np.zeros_like(fresh)
        state.arrays = past
        return waveform

    def _run(
        self, past: list[NDArray[np.float32]], codes: IntArray, fresh: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Run the graph once; the waveforms of these frames, and the state after them."""
        rows, _, frames = codes.shape
        waveform = np.empty((rows, frames * self.size.frame_samples), np.float32)
        present = [np.empty_like(array) for array in past]
        arrays = np.ascontiguousarray(codes, np.int64), np.ascontiguousarray(fresh, np.bool_), *past
        inputs = dict(zip((*CODEC_INPUTS, *self._past), map(Memory.of, arrays), strict=True))
        outputs = dict(zip((WAVEFORM, *self._present), map(Memory.of, (waveform, *present)), strict=True))
        self._graph.bind(inputs, outputs).run()
        return waveform, present

    def decode(self, codes: IntArray) -> Waveform:
        """Fine codes [codebooks, T] of a whole utterance -> waveform [T * frame_samples], full scale at 1.

        On a GPU the last run is filled up with frames that are cut off afterwards: cuDNN plans its convolutions anew
        for each length. Whatever is shorter than the reflection at the beginning is decoded as it is.
        """
        frames = codes.shape[1]
        if self._fills_runs and frames >= self.size.first_frames:
            codes = np.pad(codes, ((0, 0), (0, -frames % self._run_frames)))
        waveform: Waveform = self.decode_chunk(self.new_state(1), codes[None], np.ones(1, np.bool_))[0]
        return waveform[: frames * self.size.frame_samples]
