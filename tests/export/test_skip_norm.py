"""A residual sum and its LayerNorm in one operator compute the same."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bark_onnx_export.graphs.skip_norm import fuse_skip_norms

WIDTH = 16


def residual_graph(path: Path) -> None:
    """Two sums with LayerNorms, of which the first sum is read again; a norm of an input; a sum that nothing reads."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal(WIDTH).astype(np.float32), name) for name in ("gamma", "beta")
    ]
    nodes = [
        helper.make_node("Add", ["a", "b"], ["first"]),
        helper.make_node("LayerNormalization", ["first", "gamma", "beta"], ["norm_1"], axis=-1, epsilon=1e-5),
        helper.make_node("Tanh", ["norm_1"], ["mlp"]),
        helper.make_node("Add", ["first", "mlp"], ["second"]),
        helper.make_node("LayerNormalization", ["second", "gamma"], ["norm_2"], axis=-1, epsilon=1e-5),
        helper.make_node("LayerNormalization", ["a", "gamma", "beta"], ["norm_3"], axis=-1, epsilon=1e-5),
        helper.make_node("Add", ["norm_2", "norm_3"], ["out"]),
    ]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m", WIDTH]) for name in ("a", "b", "out")]
    graph = helper.make_graph(nodes, "residual", infos[:2], infos[2:], weights)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def test_sums_and_norms_become_one_operator(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    residual_graph(path)
    random, found = np.random.default_rng(1), []
    inputs = {name: random.standard_normal((2, 3, WIDTH)).astype(np.float32) for name in ("a", "b")}
    for _ in range(2):
        found.append(ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)[0])
        fuse_skip_norms(path)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)
    nodes = onnx.load(path).graph.node
    assert Counter(node.op_type for node in nodes) == {
        "SkipLayerNormalization": 2, "LayerNormalization": 1, "Tanh": 1, "Add": 1
    }  # fmt: skip
    assert [len(node.output) for node in nodes if node.op_type == "SkipLayerNormalization"] == [4, 1]
