"""Residual sums and the LayerNorms after them as one operator, `com.microsoft::SkipLayerNormalization`, for GPUs.

Two kernels of each decode step become one, twice in each block. ONNX Runtime's own fusion finds only the last pair of a
graph, since the other sums are also read by the next residual sum.
"""

from collections import Counter
from pathlib import Path

import onnx
from onnx import helper

_LAST_AXIS = -1


def fuse_skip_norms(path: Path) -> None:
    """Replace each sum with the LayerNorm that reads it in a graph file. Its weights stay in their second file."""
    model = onnx.load(path, load_external_data=False)
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "Add"}
    fused: dict[str, onnx.NodeProto] = {}  # by the output of the sum
    kept = []
    for node in model.graph.node:
        total = makers.get(node.input[0]) if node.op_type == "LayerNormalization" else None
        settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if total is None or total.output[0] in fused or settings["axis"] != _LAST_AXIS:
            kept.append(node)
            continue
        fused[total.output[0]] = helper.make_node(
            "SkipLayerNormalization",
            [*total.input, *node.input[1:]],
            [node.output[0], "", "", total.output[0]],
            name=node.name,
            domain="com.microsoft",
            epsilon=settings["epsilon"],
        )
    # The new node takes the place of the sum: what reads the sum or the norm comes after it.
    nodes = [fused.get(node.output[0], node) for node in kept]
    counts = Counter(name for node in nodes for name in node.input) + Counter(v.name for v in model.graph.output)
    for node in fused.values():
        if not counts[node.output[3]]:
            del node.output[1:]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
