"""The fine model on ONNX Runtime: a transformer that is not causal and sees a whole window of frames.

This file names the inputs of the fine graph; the exporter takes the names from here.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray
from .causal_graph import LOGITS
from .device import Device
from .memory import Memory
from .session import Binding, Graph
from .tensorrt import EngineProfile

FINE_INPUTS = ("codes", "codebook")


class FineModel:
    """The transformer that predicts the fine codebooks, one in each run."""

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

    def bind(self, codes: Memory, codebook: Memory, logits: Memory) -> Binding:
        """A run whose inputs and logits are in the caller's memory.

        Args:
            codes: [B, T, codebooks] int64.
            codebook: [] int64.
            logits: [B, T, codebook_size] float32.
        """
        return self._graph.bind(dict(zip(FINE_INPUTS, (codes, codebook), strict=True)), {LOGITS: logits}, repeated=True)
