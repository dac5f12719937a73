"""Precisions: which tensor is stored as what, and ONNX Runtime's quantizers on the finished graph.

    fp32   everything
    fp16   transformers: weights, activations and KV cache
    int8   transformers: matrices per channel, activations quantised as they come (8 bits by 8 bits, VNNI or AMX)
    int4   transformers: matrices in blocks of 32, symmetric; the head, where errors go straight into the logits, 8 bits
    mixed  int8, but the decode steps of semantic and coarse model read matrices of 4 bits, in blocks of 128, and a KV
           cache of 8 bits, each channel with a scale of its own

A decode step is bound by the bytes that it reads, a prefill and a fine pass by multiply-adds, which are fastest in 8
bits: `mixed` has for each what it wants, and both sets of matrices in memory. With int8, int4 and mixed the embeddings
are fp16: half the file, and an error a thousand times below the matrices'. The codec, 2 % of the work, is always fp32.
"""

from pathlib import Path

import onnx
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import Tensor

from bark_onnx.bundle import CausalPrecision, GraphPrecision, Precisions

from .graph import quiet, save_model

BLOCKS = {"int4": 32, "int4-128": 128}
STEP_FORM = "int4-128"
INT4_ACCURACY = 4  # activations in 8 bits: the fast kernels


def precisions(precision: str) -> Precisions:
    """What the manifest says of each graph."""
    embeddings = "fp32" if precision == "fp32" else "fp16"
    kv_cache = {"fp16": "fp16", "mixed": "int8"}.get(precision, "fp32")
    matrices, steps = ("int8", STEP_FORM) if precision == "mixed" else (precision, precision)
    causal = CausalPrecision(matrices, embeddings, kv_cache, steps)
    return Precisions(causal, causal, GraphPrecision(matrices, embeddings), GraphPrecision("fp32", "fp32"))


def cast_tensors(tensors: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """A transformer's tensors as they are stored, before any quantizer."""
    if precision == "fp32":
        return tensors
    return {
        name: tensor.to(torch.float16) if precision == "fp16" or "embedding" in name else tensor
        for name, tensor in tensors.items()
    }


def quantize(
    source: Path, target: Path, form: str, beside: Path | None = None, cache_scales: Tensor | None = None
) -> None:
    """Write `target`, the transformer graph `source` with its matrices in this format.

    Args:
        beside: a graph of the same transformer in the same directory, whose external data holds what both have alike.
        cache_scales: [2 * layers, width]: make the KV cache int8.
    """
    with quiet():
        model = _quantized(source, form)
        if cache_scales is not None:
            _narrow_cache(model, cache_scales)
        save_model(model, target, beside)


def _narrow_cache(model: onnx.ModelProto, scales: Tensor) -> None:
    """Have every attention of a causal graph keep its keys and values in 8 bits."""
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
            # What follows a custom operator has no inferred type, so say it.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        model = onnx.load(scratch)
    else:
        model = onnx.load(source)
    if form in BLOCKS:
        head = _head(model)
        for bits, excluded in ((4, [head]), (8, [])):
            quantizer = MatMulNBitsQuantizer(
                model,
                bits=bits,
                block_size=BLOCKS[form],
                is_symmetric=True,
                accuracy_level=INT4_ACCURACY,
                nodes_to_exclude=excluded,
            )
            quantizer.process()
            model = quantizer.model.model
    return model


def _head(model: onnx.ModelProto) -> str:
    """The last matrix product before the logits."""
    products: list[str] = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    return products[-1]
