"""Precisions: the number format of each tensor.

    fp32   everything
    fp16   transformers: weights, activations and KV cache
    bf16   the same in bfloat16: fp16's size and speed with fp32's range, and three bits less precision
    int8   transformers: matrices with a scale for each output channel; activations are quantised at run time, with a
           scale for each row; decode steps have a KV cache of 8 bits
    int4   transformers: matrices in blocks of 32, of 4 bits, or of 8 where 4 would cost too much; decode steps have a
           KV cache of 8 bits
    mixed  int8, but decode steps of the semantic and the coarse model have matrices of 4 bits in blocks of 128, or as
           in int8 where 4 bits would cost too much
    w8a16, w4a16  for GPUs, weight-only: fp16, but matrices in blocks of 32, as in int4; the head is fp16

A decode step is bound by the bytes that it reads. A prefill and a fine pass are bound by multiply-adds, which are
fastest in 8 bits. `mixed` has the best matrices for each, and both sets are in memory. With int8, int4 and mixed the
embeddings are fp16: they take half the space, with an error a thousand times smaller than that of the matrices. The
codec, 2 % of the work, is always fp32. On GPUs it is slow to quantise activations to 8 bits, so w8a16 and w4a16
quantise only the matrices.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bark_onnx.model.manifest import CausalPrecision, GraphPrecision, Precisions


@dataclass(frozen=True)
class Form:
    """The format of a matrix.

    Args:
        bits: bits of a weight.
        block: weights of a row that share a scale. None: all of them do, and the activations are quantised with a scale
            for each row; with blocks, ONNX Runtime quantises them with a scale for each block, or not at all.
    """

    bits: int
    block: int | None

    @property
    def name(self) -> str:
        return f"int{self.bits}" if self.block is None else f"int{self.bits}-{self.block}"


@dataclass(frozen=True)
class Forms:
    """The formats of the matrices of a graph.

    Args:
        narrow: the cheapest format.
        wide: the format of matrices for which the narrow one would cost too much; None: all are narrow.
        head: whether the head is quantised too.
    """

    narrow: Form
    wide: Form | None = None
    head: bool = True


STEP_FORM = "int4-128"
FORMS = {
    "int8": Forms(Form(8, None)),
    "int4": Forms(Form(4, 32), Form(8, 32)),
    STEP_FORM: Forms(Form(4, 128), Form(8, None)),
    "w8a16": Forms(Form(8, 32), head=False),
    "w4a16": Forms(Form(4, 32), Form(8, 32), head=False),
}
"""The formats by the manifest's name for the weights of a graph; a name that is missing here is not quantised."""

# The 16-bit format of activations, the KV cache, and the weights that are not quantised.
_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16, "w8a16": torch.float16, "w4a16": torch.float16}


# The precisions that have a KV cache of int8 for decode steps, in the static layout.
_INT8_CACHE = ("int8", "int4", "mixed")


def precisions(precision: str, kv_layout: str) -> Precisions:
    """Return the number formats of each graph, for the manifest."""
    embeddings = precision if precision in ("fp32", "bf16") else "fp16"
    int8_cache = precision in _INT8_CACHE and kv_layout == "static"
    kv_cache = "int8" if int8_cache else embeddings if precision in _HALF else "fp32"
    matrices, steps = ("int8", STEP_FORM) if precision == "mixed" else (precision, precision)
    causal = CausalPrecision(matrices, embeddings, kv_cache, steps)
    return Precisions(causal, causal, GraphPrecision(matrices, embeddings), GraphPrecision("fp32", "fp32"))


def cast_tensors(tensors: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Cast a transformer's tensors to the formats that they have in a graph before its matrices are quantised."""
    if precision == "fp32":
        return tensors
    half = _HALF.get(precision)
    return {
        name: tensor.to(half or torch.float16) if half or "embedding" in name else tensor
        for name, tensor in tensors.items()
    }
