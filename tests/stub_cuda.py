"""The stub CUDA libraries: counters of what ONNX Runtime's CUDA provider calls. For the tests in tests/cuda_stub."""

import ctypes
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions
from bark_onnx.graphs import device as device_module
from bark_onnx.graphs.cache import KVCache
from bark_onnx.graphs.memory import Memory
from bark_onnx.graphs.session import Binding, Graph
from bark_onnx.model.manifest import graph_file
from bark_onnx.sampling.device import Blocks, DeviceFine, DeviceLoop
from bark_onnx.sampling.sequence import Errors, FineWindow, TokenSequence
from bark_onnx.stages.coarse import CoarseSequence

VARIABLE = "BARK_ONNX_CUDA_STUB"
needs_stub = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} does not name a directory with stub CUDA libraries"
)


Memories: TypeAlias = Mapping[str, Memory]


class NoRun:
    """In place of a binding."""

    def run(self) -> None:
        """Compute nothing."""


class Stub:
    """The counters of the stub runtime."""

    def __init__(self) -> None:
        assert device_module.why_no_gpu() is None
        self._library = ctypes.CDLL("libcudart.so.13")
        for name in ("fake_counts", "fake_capbad", "fake_tracelog"):
            getattr(self._library, name).restype = ctypes.c_char_p
        self._library.fake_live.restype = ctypes.c_size_t

    def reset(self) -> None:
        self._library.fake_reset()

    @contextmanager
    def in_order(self) -> Iterator[list[str]]:
        """The calls within the block, in their order; known after it."""
        found: list[str] = []
        self.reset()
        self._library.fake_trace(1)
        try:
            yield found
        finally:
            self._library.fake_trace(0)
        found += self._library.fake_tracelog().decode().splitlines()

    @property
    def calls(self) -> Counter[str]:
        """The calls since the last reset; kernels begin with `k:`."""
        lines = (line.split("\t", 1) for line in self._library.fake_counts().decode().splitlines())
        return Counter({what: int(count) for count, what in lines})

    @property
    def kernels(self) -> int:
        """The kernels launched since the last reset, without those of cuBLAS."""
        return sum(count for what, count in self.calls.items() if what.startswith("k:"))

    @property
    def not_allowed_in_captures(self) -> str:
        found: str = self._library.fake_capbad().decode()
        return found

    @property
    def megabytes(self) -> float:
        """Device memory in use."""
        live: int = self._library.fake_live()
        return live / 1e6


def take_valid_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences take tokens of their own, since the ids that kernels would sample are zeros.

    The codec does not run: cuDNN's stub gives its workspaces sizes that mean nothing.
    """

    def take(_: DeviceLoop, blocks: Blocks, sequences: dict[int, TokenSequence], count: int) -> Errors:
        for sequence in sequences.values():
            for _step in range(count):
                sequence.take(sequence.rule.codebook * sequence.rule.choices)
                if not sequence.left:
                    break
        return {}

    bind = Graph.bind

    def bind_others(graph: Graph, inputs: Memories, outputs: Memories, *, repeated: bool = False) -> Binding | NoRun:
        if graph.name == graph_file("codec"):
            return NoRun()
        return bind(graph, inputs, outputs, repeated=repeated)

    monkeypatch.setattr(DeviceLoop, "_take", take)
    fill = DeviceFine.fill

    def fill_validly(loop: DeviceFine, windows: Sequence[FineWindow], given: int) -> Errors:
        errors = fill(loop, windows, given)
        for window in windows:
            window.codes[given:, window.fill :] = 0
        return errors

    monkeypatch.setattr(DeviceFine, "fill", fill_validly)
    monkeypatch.setattr(Graph, "bind", bind_others)


def begin_windows(bark: Bark, rows: int) -> tuple[DeviceLoop, KVCache, dict[int, CoarseSequence]]:
    """Coarse windows in all rows of a KV cache, each after its first token."""
    loop, sequences = bark._loops.coarse, {}
    assert isinstance(loop, DeviceLoop)
    cache = loop.new_cache(rows)
    for row in range(rows):
        random = np.random.default_rng(row)
        sequence = sequences[row] = CoarseSequence(None, GenerationOptions(), bark.vocabulary, 1024, random)
        sequence.feed(list(range(100)), ended=True)
        assert not loop.begin(cache, sequence, sequence.begin_window(), row=row)
    return loop, cache, sequences
