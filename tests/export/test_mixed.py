"""`mixed`: 8-bit matrices for prefills, 4-bit ones for decode steps; equal tensors are stored once."""

import json
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest

from bark_onnx import Bark, BarkError, BundleError, GenerationOptions, Request
from bark_onnx.checks.quality import Source, measure
from bark_onnx.graphs.session import Binding, Graph
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import MANIFEST
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from generated import export
from run_command import run
from voices import make_voice

STAGES = ("semantic", "coarse")
OPTIONS = GenerationOptions(max_seconds=0.6)


@pytest.fixture(scope="module")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """mixed and int8, with weights in files beside the graphs, as in large models."""
    directory = tmp_path_factory.mktemp("mixed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bark_onnx_export.graphs.onnx_files.LARGE", 1 << 14)
        return {name: export(checkpoint, directory / name, name, verify=True) for name in ("mixed", "int8")}


@pytest.fixture(scope="module")
def mixed(bundles: dict[str, Path]) -> Bark:
    return Bark.load(bundles["mixed"], device="cpu", threads=1)


@pytest.mark.parametrize("stage", STAGES)
def test_each_verb_has_its_own_operators(bundles: dict[str, Path], stage: str) -> None:
    prefill, step = (
        {node.op_type for node in onnx.load(bundles["mixed"] / name, load_external_data=False).graph.node}
        for name in (f"{stage}.onnx", f"{stage}.step.onnx")
    )
    assert "QuantizeLinear" in prefill
    assert "MatMulNBits" not in prefill
    assert "MatMulNBits" in step
    assert not {"QuantizeLinear", "MatMul"} & step


@pytest.mark.parametrize("stage", STAGES)
def test_embeddings_are_stored_once(bundles: dict[str, Path], stage: str) -> None:
    model = onnx.load(bundles["mixed"] / f"{stage}.step.onnx", load_external_data=False)
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}["location"]
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    shared = {name for name, place in places.items() if place == f"{stage}.onnx.data"}
    assert {"token_embedding.weight", "position_embedding.weight"} <= shared
    assert any(place == f"{stage}.step.onnx.data" for place in places.values())
    own = (bundles["mixed"] / f"{stage}.step.onnx.data").stat().st_size
    assert own < (bundles["mixed"] / f"{stage}.onnx.data").stat().st_size


def test_matrices_that_need_8_bits_are_stored_once_and_need_no_pairs_of_rows(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_onnx_export.graphs.onnx_files.LARGE", 1 << 14)
    monkeypatch.setattr("bark_onnx_export.graphs.export.BUDGET", 0)
    bundle = export(checkpoint, tmp_path / "bundle", "mixed")
    step = onnx.load(bundle / "coarse.step.onnx", load_external_data=False)
    assert {node.op_type for node in step.graph.node} >= {"QuantizeLinear", "MatMul"}
    assert "MatMulNBits" not in {node.op_type for node in step.graph.node}
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}["location"]
        for tensor in step.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    codes = {place for name, place in places.items() if name.endswith(".codes")}
    assert codes == {"coarse.onnx.data"}
    assert run("info", bundle).stdout.count(b"coarse.step.onnx: 9 int8") == 1
    bark = Bark.load(bundle, device="cpu", threads=1)
    assert bark._networks.coarse.new_cache().memory.shape[1] == 1
    speech, pair = (
        bark.generate("hello", options=OPTIONS, seed=1),
        bark.generate_batch([Request("hello", seed=1, options=OPTIONS), Request("dog", seed=2, options=OPTIONS)]),
    )
    assert np.array_equal(pair[0].tokens.fine, speech.tokens.fine)


def test_prefills_are_close_to_those_of_int8_and_steps_are_not(bundles: dict[str, Path], mixed: Bark) -> None:
    """Both have matrices of 8 bits in prefills. Those of mixed differ a little, since its keys and values are even."""
    int8 = Bark.load(bundles["int8"], device="cpu", threads=1)
    prompt = np.arange(200)
    logits = []
    for bark in (mixed, int8):
        decoder = bark._networks.coarse
        cache = decoder.new_cache()
        logits.append((decoder.prefill(cache, prompt).copy(), decoder.decode_step(cache, [5])[0].copy()))
    (prefill, step), (expected, step_of_int8) = logits
    error, error_of_step = (
        np.linalg.norm(found - right) / np.linalg.norm(right)
        for found, right in ((prefill, expected), (step, step_of_int8))
    )
    assert error < 0.05 < error_of_step < 0.4


def test_a_prefill_leaves_its_keys_and_values_in_8_bits(mixed: Bark) -> None:
    """The decode step reads what the prefill has written, in any row and after any number of runs."""
    decoder = mixed._networks.coarse
    prompt = np.random.default_rng(1).integers(0, 10_000, 300)
    cache, alone = decoder.new_cache(3), decoder.new_cache()
    decoder.prefill(cache, prompt, row=1)
    decoder.prefill(alone, prompt)
    kept, expected = cache.memory.owner[:, 1], alone.memory.owner[:, 0]
    assert kept.dtype == np.int8
    assert np.array_equal(kept, expected)
    assert np.abs(kept[:, :, :300].astype(int)).max() > 60  # most of the range of int8 is used
    assert not kept[:, :, 300:].any()
    assert not cache.memory.owner[:, [0, 2]].any()
    steps = [decoder.decode_step(c, [7], rows)[0].copy() for c, rows in ((cache, [1]), (alone, [0]))]
    assert np.array_equal(*steps)


def test_a_prompt_with_few_new_positions_runs_in_the_graph_of_steps(mixed: Bark) -> None:
    """The logits are close to those of a prefill from the beginning, which has matrices of 8 bits instead of 4."""
    decoder = mixed._networks.coarse
    prompt = np.random.default_rng(2).integers(0, 10_000, 200)
    cache, anew = decoder.new_cache(), decoder.new_cache()
    decoder.prefill(cache, prompt[:190])
    before = cache.memory.owner[:, 0, :, :190].copy()
    logits, expected = decoder.prefill(cache, prompt).copy(), decoder.prefill(anew, prompt)
    assert np.array_equal(cache.memory.owner[:, 0, :, :190], before)
    assert cache.lengths[0] == 200
    assert np.linalg.norm(logits - expected) < 0.4 * np.linalg.norm(expected)


def test_the_cache_of_a_prefill_is_freed_with_the_last_row(mixed: Bark) -> None:
    """It is kept while a row is in use. Two caches do not share one."""
    decoder, prompt = mixed._networks.coarse, np.arange(40)
    cache, other = decoder.new_cache(2), decoder.new_cache()
    assert cache.prefilled is None
    decoder.prefill(cache, prompt, row=0)
    decoder.prefill(cache, prompt + 1, row=1)
    first = weakref.ref(cache.prefilled.memory.owner)
    assert first().dtype == np.float32
    assert first().shape[1] == 1  # one row is enough
    decoder.prefill(other, prompt)
    assert other.prefilled is not cache.prefilled
    cache.clear(0)
    decoder.prefill(cache, prompt + 2, row=1)
    assert cache.prefilled.memory.owner is first()
    cache.clear(1)
    assert first() is None


def test_nothing_is_kept_of_a_prefill_that_failed(mixed: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, prompt = mixed._networks.coarse, np.arange(300)
    cache = decoder.new_cache()
    expected = decoder.prefill(decoder.new_cache(), prompt)
    decoder.prefill(cache, prompt[:100])
    runs = iter(range(99))

    def failing(graph: Graph, binding: Binding) -> None:
        if next(runs) == 1:
            raise MemoryError
        run_bound(graph, binding)

    run_bound = Graph.run_bound
    with monkeypatch.context() as patch:
        patch.setattr(Graph, "run_bound", failing)
        with pytest.raises(MemoryError):
            decoder.prefill(cache, prompt)
    assert cache.lengths[0] == 0
    np.testing.assert_array_equal(decoder.prefill(cache, prompt), expected)


def test_steps_with_weights_of_their_own_need_a_cache_of_8_bits(bundles: dict[str, Path], tmp_path: Path) -> None:
    document = json.loads((bundles["mixed"] / MANIFEST).read_text())
    document["precisions"]["coarse"]["kv_cache"] = "fp32"
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"precisions\.coarse: .* need a KV cache of int8"):
        Bundle.open(tmp_path)


def test_it_speaks_alone_together_and_streamed(mixed: Bark) -> None:
    voice = make_voice(mixed.vocabulary, 120)
    speech = mixed.generate("hello", voice=voice, options=OPTIONS, seed=1)
    assert np.isfinite(speech.waveform).all()
    assert np.array_equal(mixed.generate("hello", voice=voice, options=OPTIONS, seed=1).tokens.fine, speech.tokens.fine)
    stream = mixed.stream("hello", voice=voice, options=OPTIONS, seed=1)
    list(stream)
    assert stream.speech is not None
    assert np.array_equal(stream.speech.tokens.coarse, speech.tokens.coarse)
    pair = mixed.generate_batch(
        [Request("hello", voice=voice, seed=1, options=OPTIONS), Request("dog", voice=None, seed=2, options=OPTIONS)]
    )
    assert [len(one.waveform) > 0 for one in pair] == [True, True]


def test_verify_has_the_limits_of_its_decode_steps(bundles: dict[str, Path], bundle: Path) -> None:
    opened = Bundle.open(bundles["mixed"])
    voice = make_voice(opened.manifest.vocabulary, 100)
    assert voice is not None
    stages = {
        stage.stage: stage
        for stage in measure(Source.of(Bundle.open(bundle)), Source.of(opened), opened.manifest, [voice], 32)
    }
    assert stages["coarse"].limits["kl"] == 0.08  # int4's
    assert stages["fine"].limits["kl"] == 0.02  # int8's
    assert stages["coarse"].figures["kl"] > 0


def test_info_shows_both_precisions(bundles: dict[str, Path]) -> None:
    lines = run("info", bundles["mixed"]).stdout.decode().splitlines()
    (coarse,) = (line for line in lines if line.startswith("coarse"))
    assert "weights int8 (int4-128 in decode steps)" in coarse
    assert "KV cache int8" in coarse


@pytest.mark.parametrize("name", ["coarse.step.onnx", "coarse.quantize_cache.onnx"])
def test_a_bundle_without_its_step_graphs_is_refused(bundles: dict[str, Path], tmp_path: Path, name: str) -> None:
    document = json.loads((bundles["mixed"] / MANIFEST).read_text())
    del document["files"][name]
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=f"files lacks {name}"):
        Bundle.open(tmp_path)


def test_the_portable_layout_does_not_come_in_mixed(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BarkError, match="not in mixed"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("mixed", "portable"))
