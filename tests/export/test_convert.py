"""Export a checkpoint to a bundle in every precision; every layout gives the same bundle."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from transformers import BarkModel

from bark_onnx import Bark, BundleError, DeviceError, GenerationOptions, VoicePreset, __version__
from bark_onnx.checks.compare import CPU
from bark_onnx.checks.quality import StageQuality
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle, hash_file, list_files
from bark_onnx.model.manifest import MANIFEST, PRECISIONS, STAGES, TOKENIZER
from bark_onnx_bench.checkpoints import save_suno
from bark_onnx_bench.checkpoints import write_tokenizer as write_test_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_export.graphs import export as exporting
from bark_onnx_export.graphs.tracing import Tracing, export_graph
from bark_onnx_export.modules.codec import CodecModule
from full import FULL
from voices import PUBLISHED, make_voice, write_triple

SHORT = GenerationOptions(max_seconds=0.3)


@dataclass(frozen=True)
class Export:
    """A bundle, and the lines and figures of its export."""

    directory: Path
    precision: str
    report: list[str]
    stages: list[StageQuality]


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice as .npz and one as .npy triple."""
    directory = tmp_path_factory.mktemp("presets")
    make_voice(PUBLISHED, 100, 1).save(directory / "announcer.npz")
    write_triple(directory, "v2/en_speaker_6", make_voice(PUBLISHED, 100, 2))
    return directory


def traced_anew(with_traces: Callable[[Tracing, Path], None]) -> Callable[[Tracing, Path], None]:
    """What traces modules anew that `bundle` has traced: see `test_exporting_twice_gives_the_same_hashes`.

    These are a transformer of each kind, since tracing takes long; in the full form they are all modules.
    """
    kinds = set()

    def export(tracing: Tracing, path: Path) -> None:
        kind = type(tracing.module)
        known = kind in {*kinds, CodecModule}
        kinds.add(kind)
        (with_traces if known and not FULL else export_graph)(tracing, path)

    return export


@pytest.fixture(scope="module", params=PRECISIONS)
def exported(
    request: pytest.FixtureRequest, checkpoint: Path, presets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Export]:
    """One export for each precision, over an older bundle. The weights of int8 are in second files, like large ones."""
    target = tmp_path_factory.mktemp("exported") / request.param
    target.mkdir()
    for name in (MANIFEST, "stale.onnx"):
        (target / name).write_text("{}")
    report: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "fp32":
            patch.setattr("bark_onnx_export.graphs.export.export_graph", traced_anew(exporting.export_graph))
        if request.param == "int8":
            patch.setattr("bark_onnx_export.graphs.onnx_files.LARGE", 1 << 16)
        options = ExportOptions(request.param, voices=presets, force=True)
        stages = export_bundle(open_checkpoint(str(checkpoint)), target, options, report.append)
    yield Export(target, request.param, report, stages)
    shutil.rmtree(target)


def test_an_export_reports_what_the_precision_costs(exported: Export) -> None:
    assert [stage.stage for stage in exported.stages] == list(STAGES)
    assert [stage.over for stage in exported.stages] == [[]] * 4
    assert exported.report[-4:] == [str(stage) for stage in exported.stages]
    costs = [stage.figures["kl"] for stage in exported.stages[:3]]
    widest, narrowest = {"fp32": (1e-9, 0), "fp16": (1e-5, 1e-12), "int8": (2e-3, 1e-6), "int4": (0.08, 1e-4),
                        "mixed": (0.08, 1e-6), "bf16": (1e-3, 1e-9), "w8a16": (1e-3, 1e-9),
                        "w4a16": (0.08, 1e-4)}[exported.precision]  # fmt: skip
    assert narrowest <= min(costs) <= max(costs) < widest  # the cost is in the range of this precision
    assert exported.stages[3].figures["snr"] > 100  # the codec is always fp32


def test_the_manifest_has_the_figures(exported: Export) -> None:
    quality = Bundle.open(exported.directory).manifest.quality
    assert quality == {stage.stage: stage.figures for stage in exported.stages}


def test_the_manifest_has_the_format_of_each_matrix_where_there_is_a_choice(exported: Export) -> None:
    matrices = Bundle.open(exported.directory).manifest.matrices
    graphs = {"int4": STAGES[:3], "w4a16": STAGES[:3], "mixed": ("semantic.step", "coarse.step")}
    assert list(matrices) == [f"{graph}.onnx" for graph in graphs.get(exported.precision, ())]
    for graph, forms in matrices.items():
        nodes = onnx.load(exported.directory / graph, load_external_data=False).graph.node
        bits = {
            node.name: (node.op_type, *(a.i for a in node.attribute if a.name in ("bits", "block_size")))
            for node in nodes
        }
        for name, form in forms.items():
            width, block = form.removeprefix("int").split("-")
            assert sorted(bits[name][1:]) == sorted((int(width), int(block)))


def test_the_manifest_describes_the_bundle(exported: Export) -> None:
    manifest = Bundle.open(exported.directory).manifest
    embeddings = exported.precision if exported.precision in ("fp32", "bf16") else "fp16"
    form = "int8" if exported.precision == "mixed" else exported.precision
    assert (manifest.precision, manifest.model, manifest.revision) == (exported.precision, "bark-test", None)
    assert manifest.exporter == __version__
    for stage in ("semantic", "coarse", "fine"):
        precision = getattr(manifest.precisions, stage)
        assert (precision.weights, precision.embeddings) == (form, embeddings)
    for causal in (manifest.precisions.semantic, manifest.precisions.coarse):
        assert causal.step_weights == ("int4-128" if exported.precision == "mixed" else form)
    halves = {"fp16": "fp16", "bf16": "bf16", "w8a16": "fp16", "w4a16": "fp16"}
    kept = {**halves, "int8": "int8", "int4": "int8", "mixed": "int8"}.get(exported.precision, "fp32")
    assert manifest.precisions.semantic.kv_cache == kept
    assert (manifest.precisions.codec.weights, manifest.precisions.codec.embeddings) == ("fp32", "fp32")
    assert manifest.files == list_files(exported.directory)


def test_an_older_bundle_is_replaced_as_a_whole(exported: Export) -> None:
    assert not (exported.directory / "stale.onnx").exists()
    assert list(exported.directory.parent.iterdir()) == [exported.directory]


def test_a_bundle_generates_speech(exported: Export) -> None:
    if exported.precision == "bf16":
        with pytest.raises(DeviceError, match="needs a GPU"):
            Bark.load(exported.directory, device="cpu")
        with pytest.raises(DeviceError, match="needs a GPU"):
            Networks(Bundle.open(exported.directory), CPU).network("semantic")  # as `verify` does
        return
    bark = Bark.load(exported.directory, device="cpu", threads=1)
    speech = bark.generate("hello [laughs]", voice="v2/en_speaker_6", options=SHORT, seed=0)
    assert np.isfinite(speech.waveform).all()
    assert np.abs(speech.waveform).max() > 0
    assert len(speech.waveform) == 320 * speech.tokens.fine.shape[1]


def test_voices_come_from_npz_files_and_npy_triples(exported: Export) -> None:
    voices = Bundle.open(exported.directory).voices
    assert list(voices) == ["announcer", "v2/en_speaker_6"]
    for name, seed in (("announcer", 1), ("v2/en_speaker_6", 2)):
        assert VoicePreset.load(voices[name]).to_prompt().keys() == make_voice(PUBLISHED, 100, seed).to_prompt().keys()
        assert np.array_equal(VoicePreset.load(voices[name]).fine, make_voice(PUBLISHED, 100, seed).fine)


def test_a_graph_has_no_traces_of_the_machine_that_exported_it(exported: Export) -> None:
    """Neither paths nor stack traces are in any text, and the fields for remarks are empty."""
    traces = [str(Path.cwd()), str(exported.directory.parent), sys.prefix, "site-packages", ".py", "stack_trace"]
    for stage in STAGES:
        model = onnx.load(exported.directory / f"{stage}.onnx", load_external_data=False)
        assert [note for note in notes(model) if note] == []
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")  # weights can contain any three bytes by chance
        assert [trace for trace in traces if trace.encode() in model.SerializeToString()] == []


def notes(model: onnx.ModelProto) -> Iterator[Any]:
    """Yield every field of a model that is for remarks."""
    graph = model.graph
    yield from (model.doc_string, model.metadata_props, model.domain, graph.doc_string)
    yield graph.metadata_props
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *model.functions):
        yield from (item.doc_string, item.metadata_props)
    for function in model.functions:
        for node in function.node:
            yield from (node.doc_string, node.metadata_props)


def test_large_weights_are_in_second_files_which_are_checked_too(exported: Export, tmp_path: Path) -> None:
    names = {path.name for path in exported.directory.iterdir()}
    if exported.precision != "int8":
        assert not [name for name in names if name.endswith(".data")]
        return
    assert {f"{stage}.onnx.data" for stage in STAGES} <= names
    copy = shutil.copytree(exported.directory, tmp_path / "copy")
    (copy / "semantic.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"semantic\.onnx\.data is missing"):
        Bundle.open(copy)
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["files"]["semantic.onnx.data"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"semantic\.onnx"):
        Bark.load(copy, device="cpu")


def test_exporting_twice_gives_the_same_hashes(checkpoint: Path, bundle: Path, exported: Export) -> None:
    """Files without quantised weights are the same in every bundle."""
    same = ["codec.onnx", TOKENIZER] if exported.precision != "int8" else [TOKENIZER]
    if exported.precision == "fp32":
        same += [f"{stage}.onnx" for stage in STAGES]
    assert [name for name in same if hash_file(exported.directory / name) != hash_file(bundle / name)] == []


def test_bundles_for_cpus_have_no_operators_for_gpus(bundle: Path) -> None:
    """tests/export/test_device_sampling.py: those for GPUs have."""
    for stage in ("semantic", "coarse", "fine"):
        nodes = onnx.load(bundle / f"{stage}.onnx", load_external_data=False).graph.node
        assert not [node for node in nodes if node.op_type == "SkipLayerNormalization"]


def test_both_layouts_give_the_same_bundle(model: BarkModel, bundle: Path, tmp_path: Path) -> None:
    """The bundles are equal byte for byte, except the model's name in the manifest."""
    source = save_suno(model, tmp_path / "suno")
    write_test_tokenizer(source)
    export_bundle(open_checkpoint(str(source)), tmp_path / "bundle", ExportOptions(verify=False))
    ours, theirs = (json.loads((directory / MANIFEST).read_text()) for directory in (tmp_path / "bundle", bundle))
    assert ours["files"] == theirs["files"]
    assert (ours.pop("model"), theirs.pop("model")) == ("suno", "bark-test")
    assert ours == theirs


def test_export_does_not_configure_the_logging_of_others() -> None:
    code = """
import logging
from bark_onnx_export import convert
from bark_onnx_export.graphs import quantize
print(logging.getLogger().handlers, logging.getLogger().level == logging.WARNING)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert (result.stdout, result.stderr) == ("[] True\n", "")
