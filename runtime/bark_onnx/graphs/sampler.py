"""The graphs that sample tokens on the device, where the logits are. They have no weights.

They compute what `bark_onnx.sampling.distribution` computes on the host, in the same 64-bit arithmetic. This file names
their inputs and outputs; the exporter takes the names from here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from .causal_graph import LOGITS
from .device import Device
from .fine import FINE_INPUTS
from .memory import Memory
from .session import Binding, Graph, Shapes

SAMPLED = "sampled"
FINE_SAMPLER_INPUTS = (*FINE_INPUTS, "fills", "uniforms", "temperatures")

T = TypeVar("T")


class SamplerInputs(NamedTuple, Generic[T]):
    """The inputs of the graphs that sample a causal decoder's logits, [B] each, in their order and by their names."""

    uniforms: T  # float64 in [0, 1)
    firsts: T  # int64; the choices [first, first + width) can be sampled
    widths: T  # int64
    temperatures: T  # float64; 0 takes the largest logit
    ends: T  # int64, the choice that ends the sequence; -1 for none
    min_eos_ps: T  # float64; the end is also taken if it has at least this probability
    top_ks: T  # int64; only in graphs with top-k and top-p, and so is the next
    top_ps: T  # float64; infinity for none


SAMPLER_INPUTS, TOP_K_TOP_P_INPUTS = SamplerInputs._fields[:6], SamplerInputs._fields[6:]
SAMPLER_DTYPES: SamplerInputs[type[np.generic]] = SamplerInputs(
    np.float64, np.int64, np.int64, np.float64, np.int64, np.float64, np.int64, np.float64
)


class SamplerGraph:
    """The graph that samples one id for each row of a causal decoder's logits."""

    def __init__(self, path: Path, choices: int, device: Device, *, top_k_top_p: bool) -> None:
        self._names = SAMPLER_INPUTS + (TOP_K_TOP_P_INPUTS if top_k_top_p else ())
        inputs: Shapes = {
            LOGITS: (np.float32, (None, choices)),
            **{name: (dtype, (None,)) for name, dtype in zip(self._names, SAMPLER_DTYPES, strict=False)},
        }
        self._graph = Graph(path, device, inputs, {SAMPLED: (np.int64, (None, 1))}, repeated=True)

    def bind(self, logits: Memory, inputs: SamplerInputs[Memory], ids: Memory, *, repeated: bool = True) -> Binding:
        """A run in the caller's memory; `repeated` as in `Graph.bind`.

        Args:
            logits: [B, V] float32.
            ids: [B, 1] int64, for the sampled ids; -1 if the logits are not numbers.
        """
        values = {LOGITS: logits, **dict(zip(self._names, inputs, strict=False))}
        return self._graph.bind(values, {SAMPLED: ids}, repeated=repeated)


class FineSamplerGraph:
    """The graph that samples one codebook of a window at all frames that are to be filled."""

    def __init__(self, path: Path, codebooks: int, codebook_size: int, device: Device) -> None:
        codes, logits = (np.int64, (None, None, codebooks)), (np.float32, (None, None, codebook_size))
        others = ((np.int64, ()), (np.int64, (None,)), (np.float64, (None, None)), (np.float64, (None,)))
        inputs: Shapes = {LOGITS: logits, **dict(zip(FINE_SAMPLER_INPUTS, (codes, *others), strict=True))}
        self._graph = Graph(path, device, inputs, {SAMPLED: codes})

    def bind(self, logits: Memory, inputs: Sequence[Memory], sampled: Memory) -> Binding:
        """A run in the caller's memory.

        Args:
            logits: [B, T, codebook_size] float32.
            inputs: in the order of FINE_SAMPLER_INPUTS: codes [B, T, codebooks], codebook [], fills [B] (the first
                frame to fill), uniforms [B, T], temperatures [B].
            sampled: [B, T, codebooks] int64, for the codes; -1 if the logits are not numbers.
        """
        values = {LOGITS: logits, **dict(zip(FINE_SAMPLER_INPUTS, inputs, strict=True))}
        return self._graph.bind(values, {SAMPLED: sampled}, repeated=True)
