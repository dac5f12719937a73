"""The sampler graphs of exported bundles give the host's tokens, and `verify` finds one that does not."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bark_onnx import Bark, BarkError, GenerationOptions
from bark_onnx.checks.compare import check_graphs
from bark_onnx.graphs.device import Device
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import TOP_K_TOP_P
from generated import export
from tiny import sign
from utterances import assert_same_speech


@pytest.mark.parametrize(
    ("precision", "layout"),
    [
        ("fp32", "portable"),
        ("fp16", "static"),
        pytest.param("fp16", "portable", marks=pytest.mark.full),
        ("w8a16", "static"),
        ("w4a16", "static"),
    ],
)
def test_sampling_on_the_device_changes_nothing(checkpoint: Path, tmp_path: Path, precision: str, layout: str) -> None:
    """In every kind of bundle for GPUs, run on the CPU. In the static layout sums and LayerNorms are one operator."""
    bundle = Bundle.open(export(checkpoint, tmp_path / "bundle", precision, layout))
    device = Device("cpu", 1)
    options = GenerationOptions(max_seconds=0.3)
    expected, found = (
        Bark(bundle, replace(device, samples=on)).generate("hello", voice=None, options=options, seed=2)
        for on in (False, True)
    )
    assert_same_speech(found, expected)
    nodes = onnx.load(bundle.graph("semantic"), load_external_data=False).graph.node
    norms = Counter(node.op_type for node in nodes if "Norm" in node.op_type)
    assert norms == {"SkipLayerNormalization" if layout == "static" else "LayerNormalization": 5}


def next_ids(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let a graph that samples return each id plus 1."""
    (output,) = model.graph.output
    (last,) = (node for node in model.graph.node if output.name in node.output)
    last.output[list(last.output).index(output.name)] = "right"
    model.graph.initializer.append(numpy_helper.from_array(np.array(1), "one"))
    model.graph.node.append(helper.make_node("Add", ["right", "one"], [output.name]))
    return model


def test_verify_finds_a_sampling_graph_that_is_wrong(gpu_bundle: Path, tmp_path: Path) -> None:
    """Its hash and its inputs are right, its tokens are wrong."""
    directory = shutil.copytree(gpu_bundle, tmp_path / "bundle")
    opened = Bundle.open(directory)
    check_graphs(opened)
    graph = opened.graph("semantic", TOP_K_TOP_P)
    onnx.save(next_ids(onnx.load(graph)), graph)
    sign(directory)
    with pytest.raises(BarkError, match="the graphs that sample the semantic stage choose wrong tokens"):
        check_graphs(Bundle.open(directory))
