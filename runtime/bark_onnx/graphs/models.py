"""The networks that are not autoregressive, as verbs on ONNX Runtime sessions: the fine model and the codec.

A network's file names its graph's inputs and outputs; the exporter takes the names from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray, Waveform
from ..errors import BarkError
from ..model.sizes import CodecSize, codec_state
from ..sampling.sampling import probabilities, sample
from .decoder import LOGITS, Errors
from .device import Device
from .session import Graph, Memory, Shapes
from .tensorrt import EngineProfile

FINE_INPUTS = ("codes", "codebook")
CODEC_INPUTS = ("codes", "fresh")
WAVEFORM = "waveform"


def codec_state_names(prefix: str, size: CodecSize) -> list[str]:
    """The state tensors of a codec graph, `past` in and `present` out, in their order."""
    return [f"{prefix}.{name}" for name in codec_state(size)]


@dataclass(frozen=True)
class FineWindow:
    """A stretch of frames, and what the codebooks that are missing are sampled with.

    Args:
        codes: [codebooks, T], filled in place.
        fill: the first frame that is filled; those before it are only seen.
        uniforms: [T - fill, codebooks] in [0, 1).
    """

    codes: IntArray
    fill: int
    uniforms: NDArray[np.float64]
    temperature: float


class FineModel:
    """The non-causal transformer that fills in the fine codebooks."""

    def __init__(
        self, path: Path, codebooks: int, codebook_size: int, device: Device, profile: EngineProfile | None = None
    ) -> None:
        self.device, self.codebooks, self.codebook_size = device, codebooks, codebook_size
        inputs = dict(zip(FINE_INPUTS, ((np.int64, (None, None, codebooks)), (np.int64, ())), strict=True))
        self._graph = Graph(path, device, inputs, {LOGITS: (np.float32, (None, None, codebook_size))}, profile)

    def logits(self, codes: IntArray, codebook: int) -> FloatArray:
        """Logits [B, T, codebook_size] of one codebook, given the codes [B, codebooks, T] of B windows."""
        arrays = (np.ascontiguousarray(codes.transpose(0, 2, 1), np.int64), np.array(codebook, np.int64))
        logits: NDArray[np.float32] = self._graph.run(dict(zip(FINE_INPUTS, arrays, strict=True)))
        return logits

    def fill(self, windows: Sequence[FineWindow], given: int) -> Errors:
        """Sample the codebooks from `given` on of windows that are of one length, each after those before it."""
        errors: Errors = {}
        for codebook in range(given, len(windows[0].codes)):
            logits = self.logits(np.stack([window.codes for window in windows]), codebook)
            for place, (window, own) in enumerate(zip(windows, logits, strict=True)):
                try:
                    p = probabilities(own[window.fill :], window.temperature)
                    window.codes[codebook, window.fill :] = sample(p, window.uniforms[:, codebook])
                except BarkError as error:
                    errors.setdefault(place, error)
        return errors


@dataclass
class CodecState:
    """What a codec decoder must know of the chunks before: the tensors of `codec_state`, a few thousand numbers a row.

    Every row is an utterance of its own.
    """

    arrays: list[NDArray[np.float32]]  # each [rows, ...]


class CodecDecoder:
    """EnCodec's decoder. It is causal: an utterance may come whole or in chunks, and several beside each other."""

    def __init__(self, path: Path, size: CodecSize, device: Device) -> None:
        self.size = size
        shapes = [(np.float32, (None, *shape)) for shape in codec_state(size).values()]
        self._past, self._present = (codec_state_names(prefix, size) for prefix in ("past", "present"))
        codes, fresh = (np.int64, (None, size.codebooks, None)), (np.bool_, (None,))
        inputs: Shapes = dict(zip((*CODEC_INPUTS, *self._past), (codes, fresh, *shapes), strict=True))
        waveform = (np.float32, (None, None))
        outputs = {WAVEFORM: waveform, **dict(zip(self._present, shapes, strict=True))}
        self._graph = Graph(path, device, inputs, outputs)

    def new_state(self, rows: int) -> CodecState:
        """The state of rows that have decoded nothing yet, to be `fresh` in their first chunk."""
        return CodecState([np.zeros((rows, *shape), np.float32) for shape in codec_state(self.size).values()])

    def decode_chunk(self, state: CodecState, codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Decode the next frames of several utterances, and update the state.

        Args:
            state: of these rows, after the chunk before.
            codes: fine codes [rows, codebooks, T], T at least 1.
            fresh: [rows], whether a row begins an utterance here; what its state holds is then ignored. Of an utterance
                that goes on afterwards, this first chunk must have at least `size.first_frames` frames.

        Returns:
            The waveforms [rows, T * frame_samples] of these frames, full scale at 1.
        """
        rows, _, frames = codes.shape
        waveform = np.empty((rows, frames * self.size.frame_samples), np.float32)
        present = [np.empty_like(array) for array in state.arrays]
        arrays = np.ascontiguousarray(codes, np.int64), np.ascontiguousarray(fresh, np.bool_), *state.arrays
        inputs = dict(zip((*CODEC_INPUTS, *self._past), map(Memory.of, arrays), strict=True))
        outputs = dict(zip((WAVEFORM, *self._present), map(Memory.of, (waveform, *present)), strict=True))
        self._graph.run_bound(self._graph.bind(inputs, outputs))
        state.arrays = present
        return waveform

    def decode(self, codes: IntArray) -> Waveform:
        """Fine codes [codebooks, T] of a whole utterance -> waveform [T * frame_samples], full scale at 1."""
        waveforms = self.decode_chunk(self.new_state(1), codes[None], np.ones(1, np.bool_))
        return waveforms[0]  # type: ignore[no-any-return]
