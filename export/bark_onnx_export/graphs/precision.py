"""Precisions: the number format of each tensor.

    fp32   everything
    fp16   transformers: weights, activations and KV cache
    bf16   the same in bfloat16: fp16's size and speed with fp32's range, and three bits less precision
    int8   transformers: matrices per channel, activations quantised at run time (8 bits by 8 bits, VNNI or AMX)
    int4   transformers: matrices in blocks of 32, symmetric; 8 bits for the head, whose errors are errors of the logits
    mixed  int8, but decode steps of the semantic and the coarse model have matrices of 4 bits, in blocks of 128, and a
           KV cache of 8 bits with a scale for each channel
    w8a16, w4a16  for GPUs, weight-only: fp16, but matrices in blocks of 32 of 8 or 4 bits, symmetric; the head is fp16

A decode step is bound by the bytes that it reads. A prefill and a fine pass are bound by multiply-adds, which are
fastest in 8 bits. `mixed` has the best matrices for each, and both sets are in memory. With int8, int4 and mixed the
embeddings are fp16: they take half the space, with an error a thousand times smaller than that of the matrices. The
codec, 2 % of the work, is always fp32. On GPUs it is slow to quantise activations to 8 bits, so w8a16 and w4a16
quantise only the matrices.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bark_onnx.model.bundle import CausalPrecision, GraphPrecision, Precisions


@dataclass(frozen=True)
class Blocks:
    """A format of matrices in blocks, each with a scale.

    Args:
        bits: bits of a weight.
        size: weights in a block.
        head: bits of a weight of the head; None leaves the head as it is.
        accuracy: ONNX Runtime's `accuracy_level`, which is the format of activations in products: 4 is 8 bits, 0 is
            their own.
    """

    bits: int
    size: int
    head: int | None
    accuracy: int


STEP_FORM = "int4-128"
BLOCKS = {
    "int4": Blocks(4, 32, head=8, accuracy=4),
    STEP_FORM: Blocks(4, 128, head=8, accuracy=4),
    "w8a16": Blocks(8, 32, head=None, accuracy=0),
    "w4a16": Blocks(4, 32, head=None, accuracy=0),
}
# The 16-bit format of activations, the KV cache, and the weights before a quantizer runs.
_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16, "w8a16": torch.float16, "w4a16": torch.float16}


def precisions(precision: str) -> Precisions:
    """Return the number formats of each graph, for the manifest."""
    embeddings = precision if precision in ("fp32", "bf16") else "fp16"
    kv_cache = "int8" if precision == "mixed" else embeddings if precision in _HALF else "fp32"
    matrices, steps = ("int8", STEP_FORM) if precision == "mixed" else (precision, precision)
    causal = CausalPrecision(matrices, embeddings, kv_cache, steps)
    return Precisions(causal, causal, GraphPrecision(matrices, embeddings), GraphPrecision("fp32", "fp32"))


def cast_tensors(tensors: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Cast a transformer's tensors to the formats that they have before a quantizer runs."""
    if precision == "fp32":
        return tensors
    half = _HALF.get(precision)
    return {
        name: tensor.to(half or torch.float16) if half or "embedding" in name else tensor
        for name, tensor in tensors.items()
    }
