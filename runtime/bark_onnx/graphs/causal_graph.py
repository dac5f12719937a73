"""The graph of a causal transformer: one loaded graph, run over rows of a KV cache.

This file names the inputs and outputs of such a graph; the exporter takes the names from here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError
from ..model.sizes import TransformerSize
from .cache import IdArray
from .device import Device
from .memory import BFLOAT16, Memory
from .session import Binding, Graph, Shapes
from .tensorrt import EngineProfile

LOGITS = "logits"
PAST, PRESENT = "past", "present"  # prefixes of the KV cache's tensors, in and out

# A graph with two KV caches, fp32 and int8: the prefixes of the one in int8, and the input that chooses it.
INT8_PAST, INT8_PRESENT = "past_int8", "present_int8"
USE_INT8 = "use_int8"
TWO_CACHES = ("fp32", "int8")

KV_CACHE_DTYPES: dict[str, type[np.generic]] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": BFLOAT16,
    "int8": np.int8,
}

NO_BF16 = "a bf16 bundle needs a GPU (ONNX Runtime has no bfloat16 products on CPUs): export int8"


class CausalInputs(NamedTuple):
    """The inputs of a causal graph beside its KV cache, in their order and by their names."""

    input_ids: IdArray  # [B, S]
    history_ids: IdArray  # [B, S]
    position_ids: IdArray  # [B, S]
    lengths: NDArray[np.int32]  # [B]: the index of each row's last position after the run
    total: NDArray[np.int32]  # []: the longest row's number of positions after the run


CAUSAL_INPUTS = CausalInputs._fields


def cache_names(prefix: str, layers: int) -> list[str]:
    """The names of a causal graph's cache tensors, in their order; the prefix is that of a cache, such as PAST."""
    return [f"{prefix}.{layer}.{half}" for layer in range(layers) for half in ("key", "value")]


class CausalGraph:
    """A loaded graph of a causal transformer.

    A graph with two KV caches has each weight once. A run reads and appends to one of them, and gets the other one
    without rows.

    Args:
        choices: the number of ids that can be sampled, which is the number of logits V.
        kv_caches: the number format of the graph's KV cache, or TWO_CACHES.
        profile: for TensorRT.

    Raises DeviceError for bf16 on a CPU.
    """

    def __init__(
        self, path: Path, size: TransformerSize, choices: int, kv_caches: tuple[str, ...], device: Device,
        profile: EngineProfile | None = None,
    ) -> None:  # fmt: skip
        if "bf16" in kv_caches and device.name == "cpu":
            raise DeviceError(NO_BF16)
        self.size, self.choices, self.device = size, choices, device
        self._shape = (size.heads, size.context, size.head_size)
        prefixes = [(PAST, PRESENT), (INT8_PAST, INT8_PRESENT)]
        self._names = {
            kv_cache: tuple(cache_names(prefix, size.layers) for prefix in pair)
            for kv_cache, pair in zip(kv_caches, prefixes, strict=False)
        }
        ids = (np.int64, (None, None))
        inputs: Shapes = dict(zip(CAUSAL_INPUTS, (ids, ids, ids, (np.int32, (None,)), (np.int32, ())), strict=True))
        outputs: Shapes = {LOGITS: (np.float32, (None, choices))}
        if len(kv_caches) > 1:
            inputs = {**inputs, USE_INT8: (np.bool_, ())}
        for kv_cache, (past, present) in self._names.items():
            tensor = (KV_CACHE_DTYPES[kv_cache], (None, *self._shape))
            inputs, outputs = {**inputs, **dict.fromkeys(past, tensor)}, {**outputs, **dict.fromkeys(present, tensor)}
        self._graph = Graph(path, device, inputs, outputs, profile, repeated=True, causal=True)

    def new_memory(self, kv_cache: str, rows: int) -> Memory:
        """Zeros for this many rows of a KV cache, [2 * layers, rows, heads, context, head_size]."""
        return Memory.zeros((2 * self.size.layers, rows, *self._shape), KV_CACHE_DTYPES[kv_cache], self.device)

    def bind(
        self, kv_cache: str, memory: Memory, rows: range, inputs: Iterable[Memory], logits: Memory,
        *, repeated: bool = False,
    ) -> Binding:  # fmt: skip
        """A run over these rows of a KV cache, which are neighbours in memory.

        Args:
            kv_cache: the number format of the KV cache.
            memory: as in `new_memory`.
            inputs: in the order of CAUSAL_INPUTS.
            logits: [len(rows), V].
            repeated: see `Graph.bind`.
        """
        values, outputs = dict(zip(CAUSAL_INPUTS, inputs, strict=True)), {LOGITS: logits}
        if len(self._names) > 1:
            values[USE_INT8] = Memory.of(np.array(kv_cache == "int8"))
        for own, (past, present) in self._names.items():
            if own == kv_cache:
                tensors = [memory[n, rows] for n in range(len(past))]
            else:
                tensors = [Memory.of(np.zeros((0, *self._shape), KV_CACHE_DTYPES[own]))] * len(past)
            values |= zip(past, tensors, strict=True)
            outputs |= zip(present, tensors, strict=True)
        return self._graph.bind(values, outputs, repeated=repeated)
