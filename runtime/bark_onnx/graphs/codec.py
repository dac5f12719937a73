"""EnCodec's decoder on ONNX Runtime.

This file names the inputs and outputs of the codec's graph; the exporter takes the names from here.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray, Waveform
from ..model.sizes import CodecSize, codec_state
from .causal_graph import PAST, PRESENT
from .device import Device
from .memory import Memory
from .session import Graph, Shapes

CODEC_INPUTS = ("codes", "fresh")
WAVEFORM = "waveform"

# Frames in one run of the graph, whose buffers take a third of a megabyte for each. 15 s of the published codec on two
# cores: 0.42 s in runs of 64 frames (of 16: 0.48, of 32: 0.44, of 128: 0.42) and 0.51 s in a single run, which does not
# fit in the processor's caches. The single run takes 375 MB, runs of 64 frames take 9 to 23 MB.
#
# On a GPU all runs have this length: ONNX Runtime keeps cuDNN's plan of the last length of a convolution only, so
# cuDNN plans anew whenever the length changes.
RUN_FRAMES = 64


def codec_state_names(prefix: str, size: CodecSize) -> list[str]:
    """The names of a codec graph's state tensors, in their order; the prefix is PAST or PRESENT."""
    return [f"{prefix}.{name}" for name in codec_state(size)]


@dataclass
class CodecState:
    """What the next chunk begins with. Each row is an utterance of its own.

    Args:
        tensors: the tensors of `codec_state`, each [rows, ...], in the device's memory; a row has a few thousand
            numbers.
        fresh: [rows], whether an utterance begins here. The row's tensors are then ignored.
        again: codes [rows, codebooks, n] that came after the tensors. Their waveforms have been returned, but the next
            run begins with them once more. Only on a GPU there are any.
    """

    tensors: list[Memory]
    fresh: NDArray[np.bool_]
    again: IntArray


class CodecDecoder:
    """EnCodec's decoder. It is causal: an utterance can be decoded whole or in chunks, and several together."""

    def __init__(self, path: Path, size: CodecSize, device: Device) -> None:
        self.size, self._device = size, device
        self._fills_runs = device.memory != "cpu"
        self._state_shapes = [*codec_state(size).values()]
        shapes = [(np.float32, (None, *shape)) for shape in self._state_shapes]
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
        """The state of rows that have decoded nothing yet."""
        return CodecState(self._tensors(rows), np.ones(rows, np.bool_), self._no_codes(rows))

    def _tensors(self, rows: int) -> list[Memory]:
        return Memory.block([(rows, *shape) for shape in self._state_shapes], np.float32, self._device)

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
        after, run = self._begin(state, fresh), self._run_frames
        known = after.again.shape[2]
        codes = np.concatenate([after.again, codes], axis=2)
        waveforms = []
        for start in range(0, codes.shape[2], run):
            waveform, after = self._run(after, codes[..., start : start + run], fills=self._fills_runs)
            waveforms.append(waveform)
        state.tensors, state.fresh, state.again = after.tensors, after.fresh, after.again
        return np.concatenate(waveforms, axis=1)[:, known * self.size.frame_samples :]

    def _begin(self, state: CodecState, fresh: NDArray[np.bool_]) -> CodecState:
        """Return the state with which a chunk begins, where the rows of `fresh` begin an utterance."""
        if state.again.shape[2]:
            if not fresh.any():
                return state
            if not fresh.all():  # the other rows go on
                state = self._run(state, state.again, fills=False)[1]
        return CodecState(state.tensors, fresh, self._no_codes(len(fresh)))

    def _no_codes(self, rows: int) -> IntArray:
        return np.zeros((rows, self.size.codebooks, 0), np.int64)

    def _run(self, state: CodecState, codes: IntArray, *, fills: bool) -> tuple[NDArray[np.float32], CodecState]:
        """Run the graph once; the waveforms of these frames, and the state after them.

        Args:
            fills: fill the run up to its full length with frames that are cut off afterwards. Because they would change
                the state, it stays that of the beginning, and the next run begins with the same codes. An utterance
                that is shorter than the reflection at its beginning is decoded as it is.
        """
        rows, _, frames = codes.shape
        too_short = state.fresh.any() and frames < self.size.first_frames
        length = self._run_frames if fills and not too_short else frames
        filled = np.pad(codes, ((0, 0), (0, 0), (0, length - frames)))
        waveform = np.empty((rows, length * self.size.frame_samples), np.float32)
        present = self._tensors(rows)
        given = np.ascontiguousarray(filled, np.int64), np.ascontiguousarray(state.fresh, np.bool_)
        past = (*map(Memory.of, given), *state.tensors)
        inputs = dict(zip((*CODEC_INPUTS, *self._past), past, strict=True))
        outputs = dict(zip((WAVEFORM, *self._present), (Memory.of(waveform), *present), strict=True))
        self._graph.bind(inputs, outputs).run()
        if length > frames:
            return waveform[:, : frames * self.size.frame_samples], replace(state, again=codes)
        return waveform, CodecState(present, np.zeros(rows, np.bool_), self._no_codes(rows))

    def decode(self, codes: IntArray) -> Waveform:
        """Fine codes [codebooks, T] of a whole utterance -> waveform [T * frame_samples], full scale at 1."""
        waveform: Waveform = self.decode_chunk(self.new_state(1), codes[None], np.ones(1, np.bool_))[0]
        return waveform
