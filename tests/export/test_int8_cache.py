"""int8 and int4: prefills and decode steps share one graph and its weights, and have KV caches of their own."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from bark_onnx import Bark, BundleError, DeviceError
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks, choose_device
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import MANIFEST
from bark_onnx_export.quantization.cache import CACHE_STEP
from generated import export
from tiny import sign

PRECISIONS = ("int8", "int4")
PROMPT = np.random.default_rng(1).integers(0, 10_000, 300)


@pytest.fixture(scope="module", params=PRECISIONS)
def exported(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("caches") / request.param, request.param)


@pytest.fixture(scope="module")
def networks(exported: Path) -> Networks:
    return Networks(Bundle.open(exported), Device("cpu", 1))


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Of a graph and of the branches in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_each_attention_has_two_caches_and_each_matrix_is_there_once(exported: Path, stage: str) -> None:
    graph = onnx.load(exported / f"{stage}.onnx").graph
    onnx.checker.check_model(onnx.load(exported / f"{stage}.onnx"))
    layers = getattr(Bundle.open(exported).manifest.sizes, stage).layers
    branches = [node for node in graph.node if node.op_type == "If"]
    attentions = [node for node in nodes(graph) if node.op_type == "GroupQueryAttention"]
    products = [node for node in nodes(graph) if node.op_type in ("MatMul", "MatMulNBits")]
    assert (len(branches), len(attentions), len(products)) == (layers, 2 * layers, 4 * layers + 1)
    inside = [node for choice in branches for attribute in choice.attribute for node in attribute.g.node]
    assert {node.op_type for node in inside} == {"GroupQueryAttention", "Identity"}
    assert not (exported / f"{stage}.step.onnx").exists()


def test_a_prefill_leaves_its_keys_and_values_in_8_bits(networks: Networks) -> None:
    """The cache of steps has the keys and values of the prefill, rounded to its steps."""
    decoder = networks.coarse
    cache = decoder.new_cache()
    decoder.prefill(cache, PROMPT)
    exact, rounded = cache.prefilled.memory.owner[:, 0, :, :300], cache.memory.owner[:, 0, :, :300]
    assert (exact.dtype, rounded.dtype) == (np.float32, np.int8)
    assert np.array_equal(rounded, (exact / np.float32(CACHE_STEP)).round().clip(-128, 127))
    assert np.abs(rounded.astype(int)).max() > 60  # most of the range of int8 is used
    assert not cache.memory.owner[:, 0, :, 300:].any()


def test_a_step_writes_one_position_of_its_own_cache_in_place(networks: Networks) -> None:
    decoder = networks.coarse
    cache = decoder.new_cache()
    decoder.prefill(cache, PROMPT)
    steps, prefilled = cache.memory.owner.copy(), cache.prefilled.memory.owner.copy()
    decoder.decode_step(cache, [5])
    changed = (cache.memory.owner != steps)[:, 0].any(axis=(0, 1, 3))  # a second row is there for pairs (int4)
    assert np.flatnonzero(changed).tolist() == [300]
    assert np.array_equal(cache.prefilled.memory.owner, prefilled)


def test_steps_are_close_to_a_prefill_of_the_same_positions(networks: Networks) -> None:
    """A step reads keys and values of 8 bits, a prefill those of fp32."""
    decoder = networks.coarse
    cache = decoder.new_cache()
    decoder.prefill(cache, PROMPT[:-40])
    for token in PROMPT[-40:]:
        logits = decoder.decode_step(cache, [token])[0]
    expected = decoder.prefill(decoder.new_cache(), PROMPT)
    assert 0 < np.linalg.norm(logits - expected) < 0.1 * np.linalg.norm(expected)


def test_a_bundle_without_the_graph_that_quantises_the_cache_is_refused(exported: Path, tmp_path: Path) -> None:
    document = json.loads((exported / MANIFEST).read_text())
    del document["files"]["coarse.quantize_cache.onnx"]
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"files lacks coarse\.quantize_cache\.onnx"):
        Bundle.open(tmp_path)


def test_a_manifest_that_promises_another_cache_than_the_graph_has_is_refused(exported: Path, tmp_path: Path) -> None:
    target = shutil.copytree(exported, tmp_path / "bundle")
    document = json.loads((target / MANIFEST).read_text())
    for stage in ("semantic", "coarse"):
        document["precisions"][stage]["kv_cache"] = "fp32"
        del document["files"][f"{stage}.quantize_cache.onnx"]
        (target / f"{stage}.quantize_cache.onnx").unlink()
    (target / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"is not the graph that the .*: unexpected past_int8.* and 1 more$"):
        Bark.load(sign(target), device="cpu").generate("hello")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt", "CUDAExecutionProvider"])
def test_a_gpu_is_refused_before_anything_is_looked_for(exported: Path, device: str) -> None:
    """Nobody should install CUDA's libraries to read this."""
    bundle = Bundle.open(exported)
    with pytest.raises(DeviceError, match=f"a bundle in {bundle.manifest.precision} is for CPUs: export one with"):
        choose_device(bundle, device)
    with pytest.raises(DeviceError, match="for CPUs"):  # `verify` chooses its device without a bundle
        Networks(bundle, Device("cuda"))
