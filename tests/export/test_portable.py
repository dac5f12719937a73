"""The portable layout has standard operators only, and gives the same tokens alone, together and streamed.

Its parity with transformers is in test_parity.py. Fine codes are compared at temperature 0: random weights have flat
distributions, and of a thousand boundaries between tokens one is soon as close to a random number as float32 rounds.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, Request
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_export.graphs.onnx_files import check_portable
from generated import export
from run_command import assert_fails, run
from voices import make_voice

OPSET = 20
FP16 = pytest.param("fp16", marks=pytest.mark.full)
STANDARD = {"": OPSET}


@pytest.fixture(scope="module")
def portables(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of a precision in this layout, verified against torch. It is exported once."""
    directory = tmp_path_factory.mktemp("portable")
    return cache(lambda precision: export(checkpoint, directory / precision, precision, "portable", verify=True))


@pytest.fixture(scope="module")
def portable(portables: Callable[[str], Path]) -> Bark:
    return Bark.load(portables("fp32"), device="cpu", threads=1)


@pytest.mark.parametrize("precision", ["fp32", FP16, "int8"])
def test_all_operators_are_standard(portables: Callable[[str], Path], precision: str) -> None:
    directory = portables(precision)
    assert Bundle.open(directory).manifest.kv_layout == "portable"
    for stage in STAGES:
        model = onnx.load(directory / f"{stage}.onnx")
        used = {node.domain for node in model.graph.node}
        assert used == {""}
        assert {entry.domain: entry.version for entry in model.opset_import if entry.domain in used} == STANDARD
        assert not model.functions
        onnx.checker.check_model(model, full_check=True)


def test_the_static_layout_is_not_portable(bundle: Path) -> None:
    with pytest.raises(BarkError, match=r"semantic\.onnx is not portable: it has com\.microsoft::GroupQueryAttention"):
        check_portable(bundle / "semantic.onnx")


def test_a_graph_that_the_checker_refuses_is_an_error(portables: Callable[[str], Path], tmp_path: Path) -> None:
    model = onnx.load(portables("fp32") / "fine.onnx")
    model.graph.node[3].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "fine.onnx")
    with pytest.raises(BarkError, match=r"fine\.onnx is not valid ONNX.*NoSuchOperator"):
        check_portable(tmp_path / "fine.onnx")


@pytest.mark.parametrize("voiced", [False, True])
def test_tokens_are_those_of_the_static_layout(bark: Bark, portable: Bark, voiced: bool) -> None:
    """At temperature 0: the logits differ by up to 2e-6, which changes a sampled token in one of some thousands."""
    voice = make_voice(bark.vocabulary, 300) if voiced else None
    options = GenerationOptions(max_seconds=2, text_temperature=0, coarse_temperature=0, fine_temperature=0)
    expected, said = (
        model.generate("the world is music", voice=voice, options=options, seed=4) for model in (bark, portable)
    )
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(said.tokens, name), getattr(expected.tokens, name))
    assert np.abs(said.waveform - expected.waveform).max() < 1e-4


def test_rows_of_a_batch_do_not_see_each_other(portable: Bark) -> None:
    requests = [
        Request("hello", voice=None, seed=1, options=GenerationOptions(max_seconds=1.2)),
        Request(
            "the world is music",
            voice=make_voice(portable.vocabulary, 200),
            seed=2,
            options=GenerationOptions(max_seconds=0.4),
        ),
        Request("dog", voice=None, seed=3, options=GenerationOptions(max_seconds=0.8)),
    ]
    for request, together in zip(requests, portable.generate_batch(requests), strict=True):
        alone = portable.generate(request.text, voice=request.voice, options=request.options, seed=request.seed)
        assert np.array_equal(together.tokens.coarse, alone.tokens.coarse)


def test_a_stream_has_the_same_codes(portable: Bark) -> None:
    options = GenerationOptions(max_seconds=1)
    stream = portable.stream("hello", options=options, seed=5)
    chunks = list(stream)
    assert len(chunks) > 1
    assert stream.speech is not None
    assert np.array_equal(
        stream.speech.tokens.coarse, portable.generate("hello", options=options, seed=5).tokens.coarse
    )


@pytest.mark.parametrize("precision", [FP16, "int8"])
def test_narrower_precisions_speak(portables: Callable[[str], Path], precision: str) -> None:
    """`verify=True` of the export has compared them with torch."""
    speech = Bark.load(portables(precision), device="cpu", threads=1).generate(
        "hello", options=GenerationOptions(max_seconds=0.3), seed=0
    )
    assert np.isfinite(speech.waveform).all()
    assert np.abs(speech.waveform).max() > 0


def test_int4_is_refused_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BarkError, match=r"comes in fp32, fp16, int8, not in int4"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("int4", "portable"))
    assert list(tmp_path.iterdir()) == []
    result = run("export", checkpoint, tmp_path / "bundle", "--layout", "portable", "--precision", "int4")
    assert_fails(result, "not in int4")


def test_a_plugin_speaks_the_same_tokens(portables: dict[str, Path], portable: Bark, tmp_path: Path) -> None:
    """OpenVINO's, which runs on CPUs. By default it rounds to 16 bits on some of them."""
    library = pytest.importorskip("onnxruntime_ep_openvino").get_library_path()
    config = tmp_path / "openvino.json"
    config.write_text('{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}')
    given = {"load_config": str(config)}
    plugin = Bark.load(portables["fp32"], device=f"openvino={library}", threads=1, provider_options=given)
    assert plugin._networks.fine._graph._session.get_providers()[0] == "OpenVINOExecutionProvider"
    requests = [Request("the world is music", seed=seed, options=GenerationOptions(max_seconds=1)) for seed in (1, 2)]
    for said, expected in zip(plugin.generate_batch(requests), portable.generate_batch(requests), strict=True):
        assert np.array_equal(said.tokens.coarse, expected.tokens.coarse)
    options = GenerationOptions(max_seconds=1, text_temperature=0, coarse_temperature=0, fine_temperature=0)
    said, expected = (model.generate("music", seed=3, options=options) for model in (plugin, portable))
    assert np.array_equal(said.tokens.fine, expected.tokens.fine)
    assert np.abs(said.waveform - expected.waveform).max() < 1e-4
