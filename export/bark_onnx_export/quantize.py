"""Precisions: the number format of each tensor, and ONNX Runtime's quantizers on the finished graph.

    fp32   everything
    fp16   transformers: weights, activations and KV cache
    bf16   the same in bfloat16: fp16's size and speed with fp32's range, and three bits less precision
    int8   transformers: matrices per channel, activations quantised at run time (8 bits by 8 bits, VNNI or AMX)
    int4   transformers: matrices in blocks of 32, symmetric; 8 bits for the head, whose errors are errors of the logits
    mixed  int8, but decode steps of the semantic and the coarse model have matrices of 4 bits, in blocks of 128, and a
           KV cache of 8 bits with a scale for each channel
    w8a16, w4a16  for GPUs, weight-only: fp16, but matrices in blocks of 32 of 8 or 4 bits, symmetric; the head is fp16

A decode step is bound by the bytes that it reads. A prefill and a fine pass are bound by multiply-adds, which are
fastest in 8 bits. `mixed` has the best matrices for each, and keeps both sets in memory. With int8, int4 and mixed the
embeddings are fp16: they take half the space, with an error a thousand times smaller than that of the matrices. The
codec, 2 % of the work, is always fp32. On GPUs it is slow to quantise activations to 8 bits, so only the matrices are
narrow there.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from bark_onnx.model.bundle import CausalPrecision, GraphPrecision, Precisions

from .graph import quiet, save_model


@dataclass(frozen=True)
class Blocks:
    """A format of matrices whose elements share a scale in blocks.

    Args:
        bits: bits of a weight.
        size: weights in a block.
        head: bits of the head; None does not quantise it.
        accuracy: ONNX Runtime's `accuracy_level`, the format of activations in products: 4 is 8 bits, 0 their own.
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
_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16, "w8a16": torch.float16, "w4a16": torch.float16}
"""The format of the weights before any quantizer runs, and of activations and the KV cache."""


def precisions(precision: str) -> Precisions:
    """The number formats of each graph, for the manifest."""
    embeddings = precision if precision in ("fp32", "bf16") else "fp16"
    kv_cache = "int8" if precision == "mixed" else embeddings if precision in _HALF else "fp32"
    matrices, steps = ("int8", STEP_FORM) if precision == "mixed" else (precision, precision)
    causal = CausalPrecision(matrices, embeddings, kv_cache, steps)
    return Precisions(causal, causal, GraphPrecision(matrices, embeddings), GraphPrecision("fp32", "fp32"))


def cast_tensors(tensors: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """A transformer's tensors in the formats that they have before any quantizer runs."""
    if precision == "fp32":
        return tensors
    half = _HALF.get(precision)
    return {
        name: tensor.to(half or torch.float16) if half or "embedding" in name else tensor
        for name, tensor in tensors.items()
    }


def quantize(
    source: Path, target: Path, form: str, beside: Path | None = None, cache_scales: Tensor | None = None
) -> None:
    """Write the transformer graph `source` to `target`, with its matrices in this format.

    Args:
        beside: a graph of the same transformer in the same directory, whose external data is used for equal tensors.
        cache_scales: [2 * layers, width]; if given, the KV cache becomes int8.
    """
    with quiet():
        model = _quantized(source, form)
        if cache_scales is not None:
            _quantize_cache(model, cache_scales)
        save_model(model, target, beside)


def _quantize_cache(model: onnx.ModelProto, scales: Tensor) -> None:
    """Give every attention of a causal graph a KV cache of 8 bits."""
    graph = model.graph
    attentions = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
    for node, pair in zip(attentions, scales.view(len(attentions), 2, -1), strict=True):
        names = [f"{value}.scale" for value in node.output[1:3]]
        graph.initializer.extend(numpy_helper.from_array(s.numpy(), n) for s, n in zip(pair, names, strict=True))
        node.input.extend([""] * (12 - len(node.input)) + names)
        node.attribute.extend(
            [
                helper.make_attribute("k_quant_type", "PER_CHANNEL"),
                helper.make_attribute("v_quant_type", "PER_CHANNEL"),
                helper.make_attribute("kv_cache_bit_width", 8),
            ]
        )
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.name.startswith(("past.", "present.")):
            value.type.tensor_type.elem_type = onnx.TensorProto.INT8


def _quantized(source: Path, form: str) -> onnx.ModelProto:
    if form == "int8":
        scratch = source.with_suffix(".int8")
        quantize_dynamic(
            source,
            scratch,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            # The types of tensors after a custom operator cannot be inferred.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        model = onnx.load(scratch)
    else:
        model = onnx.load(source)
    if form in BLOCKS:
        blocks, head = BLOCKS[form], _head(model)
        for bits, excluded in ((blocks.bits, [head]), (blocks.head, [])):
            if bits is None:
                continue
            quantizer = _block_quantizer()(
                model,
                bits=bits,
                block_size=blocks.size,
                is_symmetric=True,
                accuracy_level=blocks.accuracy,
                nodes_to_exclude=excluded,
            )
            quantizer.process()
            model = quantizer.model.model
    return model


def _block_quantizer() -> Any:
    """Import ONNX Runtime's quantizer for blocks of weights, whose module makes every library's logging visible."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.handlers[:] = handlers
    root.setLevel(level)
    return MatMulNBitsQuantizer


def _head(model: onnx.ModelProto) -> str:
    """The last matrix product before the logits."""
    products: list[str] = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    return products[-1]
