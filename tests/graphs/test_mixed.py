"""`mixed`: 8-bit matrices for prefills, 4-bit ones for decode steps, and what both have alike stored once."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from bark_onnx import Bark, BarkError, BundleError, GenerationOptions, Request
from bark_onnx.checks.quality import measure
from bark_onnx.model.bundle import MANIFEST, Bundle
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from conftest import export
from run_command import run
from utterances import make_voice

STAGES = ("semantic", "coarse")
OPTIONS = GenerationOptions(max_seconds=0.6)


@pytest.fixture(scope="module")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """mixed and int8, with weights beside the graphs, as large ones have them."""
    directory = tmp_path_factory.mktemp("mixed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bark_onnx_export.graph.LARGE", 1 << 14)
        return {name: export(checkpoint, directory / name, name, verify=True) for name in ("mixed", "int8")}


@pytest.fixture(scope="module")
def mixed(bundles: dict[str, Path]) -> Bark:
    return Bark.load(bundles["mixed"], device="cpu", threads=1)


@pytest.mark.parametrize("stage", STAGES)
def test_each_phase_has_the_operators_it_wants(bundles: dict[str, Path], stage: str) -> None:
    prefill, step = (
        {node.op_type for node in onnx.load(bundles["mixed"] / name, load_external_data=False).graph.node}
        for name in (f"{stage}.onnx", f"{stage}.step.onnx")
    )
    assert "MatMulInteger" in prefill
    assert "MatMulNBits" not in prefill
    assert "MatMulNBits" in step
    assert not {"MatMulInteger", "MatMul"} & step


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


def test_prefill_is_int8_s_and_steps_are_not(bundles: dict[str, Path], mixed: Bark) -> None:
    int8 = Bark.load(bundles["int8"], device="cpu", threads=1)
    prompt = np.arange(200)
    logits = []
    for bark in (mixed, int8):
        assert bark._networks is not None
        decoder = bark._networks.coarse
        cache = decoder.new_cache()
        logits.append((decoder.prefill(cache, prompt).copy(), decoder.decode_step(cache, [5])[0].copy()))
    (prefill, step), (expected, step_of_int8) = logits
    assert np.array_equal(prefill, expected)
    error = np.linalg.norm(step - step_of_int8) / np.linalg.norm(step_of_int8)
    assert 1e-3 < error < 0.4


def test_what_is_kept_of_a_prefill_is_its_keys_and_values_in_8_bits(mixed: Bark) -> None:
    """The decode step reads what the prefill has written, wherever its rows lie and in however many runs it came."""
    assert mixed._networks is not None
    decoder = mixed._networks.coarse
    prompt = np.random.default_rng(1).integers(0, 10_000, 300)
    cache, alone = decoder.new_cache(3), decoder.new_cache()
    decoder.prefill(cache, prompt, row=1)
    decoder.prefill(alone, prompt)
    kept, expected = cache.memory.owner[:, 1], alone.memory.owner[:, 0]
    assert kept.dtype == np.int8
    assert np.array_equal(kept, expected)
    assert np.abs(kept[:, :, :300].astype(int)).max() > 60  # most of the range is used
    assert not kept[:, :, 300:].any()
    assert not cache.memory.owner[:, [0, 2]].any()
    steps = [decoder.decode_step(c, [7], rows)[0].copy() for c, rows in ((cache, [1]), (alone, [0]))]
    assert np.array_equal(*steps)


def test_a_prompt_that_goes_on_is_only_stepped(mixed: Bark) -> None:
    """Close to prefilling it anew, which reads matrices of 8 bits instead of 4."""
    assert mixed._networks is not None
    decoder = mixed._networks.coarse
    prompt = np.random.default_rng(2).integers(0, 10_000, 200)
    cache, anew = decoder.new_cache(), decoder.new_cache()
    decoder.prefill(cache, prompt[:190])
    before = cache.memory.owner[:, 0, :, :190].copy()
    logits, expected = decoder.prefill(cache, prompt).copy(), decoder.prefill(anew, prompt)
    assert np.array_equal(cache.memory.owner[:, 0, :, :190], before)
    assert cache.lengths[0] == 200
    assert np.linalg.norm(logits - expected) < 0.4 * np.linalg.norm(expected)


def test_a_cache_of_8_bits_goes_with_steps_of_their_own(bundles: dict[str, Path], tmp_path: Path) -> None:
    document = json.loads((bundles["int8"] / MANIFEST).read_text())
    document["precisions"]["coarse"]["kv_cache"] = "int8"
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"precisions\.coarse: decode steps with weights of their own"):
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


def test_verify_judges_it_by_its_steps(bundles: dict[str, Path], bundle: Path) -> None:
    opened = Bundle.open(bundles["mixed"])
    voice = make_voice(opened.manifest.vocabulary, 100)
    assert voice is not None
    stages = {stage.stage: stage for stage in measure(Bundle.open(bundle), opened, [voice], 32)}
    assert stages["coarse"].limits["kl"] == 0.08  # int4's
    assert stages["fine"].limits["kl"] == 0.02  # int8's
    assert stages["coarse"].figures["kl"] > 0


def test_info_tells_both(bundles: dict[str, Path]) -> None:
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


def test_the_portable_layout_has_no_such_thing(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BarkError, match="not in mixed"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("mixed", "portable"))
