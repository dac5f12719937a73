"""Attention with a KV cache of int8, in graphs of the static layout."""

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from bark_onnx.graphs.causal_graph import INT8_PAST, INT8_PRESENT, PAST, PRESENT, USE_INT8

from ..quantization.cache import CACHE_STEP

_ATTENTION = "GroupQueryAttention"
_SCALES = slice(12, 14)  # the attention's inputs k_scale and v_scale
_INT8 = {PAST: INT8_PAST, PRESENT: INT8_PRESENT}


def to_int8_cache(graph: onnx.GraphProto) -> None:
    """Change the KV cache of every attention to int8."""
    scale = _add_scale(graph)
    for node in graph.node:
        if node.op_type == _ATTENTION:
            _quantize(node, scale)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if _prefix(value.name) in _INT8:
            value.type.tensor_type.elem_type = TensorProto.INT8


def add_int8_cache(graph: onnx.GraphProto) -> None:
    """Give every attention a second KV cache in int8, beside that of fp32.

    Each attention becomes an `If` on the input USE_INT8. Either branch runs the attention with its own cache and passes
    the other one on, which has no rows. So prefills and decode steps share the weights, which are outside.
    """
    scale = _add_scale(graph)
    graph.input.append(helper.make_tensor_value_info(USE_INT8, TensorProto.BOOL, []))
    for values in (graph.input, graph.output):
        for value in list(values):
            if _prefix(value.name) in _INT8:
                value.type.tensor_type.shape.dim[0].dim_param = "fp32_batch"  # its rows are not those of the other one
                values.append(_int8_value(value))
    nodes = [_choice(node, scale) if node.op_type == _ATTENTION else node for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _choice(node: NodeProto, scale: str) -> NodeProto:
    """The `If` that runs an attention with one of two KV caches."""
    past, (attended, *present) = node.input[3:5], node.output
    int8_past, int8_present = [*map(_int8_name, past)], [*map(_int8_name, present)]
    outputs = [attended, *present, *int8_present]

    def branch(name: str, own: NodeProto, results: list[str], passed: dict[str, str]) -> onnx.GraphProto:
        inner = {output: f"{output}/{name}" for output in outputs}
        own.output[:] = [inner[output] for output in results]
        passing = [helper.make_node("Identity", [source], [inner[output]]) for output, source in passed.items()]
        kinds = [TensorProto.FLOAT] * 3 + [TensorProto.INT8] * 2
        ranks = [3, 4, 4, 4, 4]
        values = [
            helper.make_tensor_value_info(inner[output], kind, [None] * rank)
            for output, kind, rank in zip(outputs, kinds, ranks, strict=True)
        ]
        return helper.make_graph([own, *passing], f"{node.name}/{name}", [], values)

    fp32, int8 = NodeProto(), NodeProto()
    fp32.CopyFrom(node)
    int8.CopyFrom(node)
    int8.input[3:5] = int8_past
    _quantize(int8, scale)
    return helper.make_node(
        "If",
        [USE_INT8],
        outputs,
        name=node.name,
        then_branch=branch("int8", int8, [attended, *int8_present], dict(zip(present, past, strict=True))),
        else_branch=branch("fp32", fp32, [attended, *present], dict(zip(int8_present, int8_past, strict=True))),
    )


def _quantize(node: NodeProto, scale: str) -> None:
    """Let an attention read and write a KV cache of int8 with one scale."""
    node.input.extend([""] * (_SCALES.start - len(node.input)) + [scale, scale])
    kinds = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR", "kv_cache_bit_width": 8}
    node.attribute.extend(helper.make_attribute(name, kind) for name, kind in kinds.items())


def _add_scale(graph: onnx.GraphProto) -> str:
    name = "cache.step"
    graph.initializer.append(numpy_helper.from_array(np.array([CACHE_STEP], np.float32), name))
    return name


def _int8_value(value: ValueInfoProto) -> ValueInfoProto:
    """An input or output like that of the fp32 cache, of the int8 cache."""
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = _int8_name(value.name)
    copy.type.tensor_type.elem_type = TensorProto.INT8
    copy.type.tensor_type.shape.dim[0].dim_param = "int8_batch"
    return copy


def _int8_name(name: str) -> str:
    return f"{_INT8[_prefix(name)]}.{name.partition('.')[2]}"


def _prefix(name: str) -> str:
    return name.partition(".")[0]
