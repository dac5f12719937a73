"""Quantise the transformers' finished graphs, with the quantizers of ONNX Runtime."""

import logging
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from .onnx_files import save_model
from .precision import BLOCKS
from .tracing import quiet


def quantize(
    source: Path, target: Path, form: str, beside: Path | None = None, cache_scales: Tensor | None = None
) -> None:
    """Write the transformer graph `source` to `target` with quantised matrices.

    Args:
        form: the format of the matrices: `int8`, one of BLOCKS, or anything else to leave them as they are.
        beside: a graph of the same transformer beside `target`. Tensors that are equal in both are written once.
        cache_scales: [2 * layers, width]; if given, the KV cache becomes int8 with these scales.
    """
    with quiet():
        model = _quantized(source, form)
        if cache_scales is not None:
            _quantize_cache(model, cache_scales)
        save_model(model, target, beside)


def _quantize_cache(model: onnx.ModelProto, scales: Tensor) -> None:
    """Change the KV cache of every attention of a causal graph to int8, with scales [2 * layers, width]."""
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
    """Return the graph in a file with quantised matrices."""
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


def _head(model: onnx.ModelProto) -> str:
    """Return the name of the head: the last matrix product."""
    products: list[str] = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    return products[-1]


def _block_quantizer() -> Any:
    """Import ONNX Runtime's quantizer for blocks of weights, whose module makes every library's logging visible."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.handlers[:] = handlers
    root.setLevel(level)
    return MatMulNBitsQuantizer
