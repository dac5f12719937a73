"""From a checkpoint to a bundle: every precision, the same bundle from every layout, and never half of one."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BarkModel, BertTokenizer

from bark_onnx import Bark, BarkError, BundleError, GenerationOptions, Vocabulary, VoiceError, VoicePreset, __version__
from bark_onnx import compare as comparison
from bark_onnx.bundle import MANIFEST, PRECISIONS, STAGES, TOKENIZER, Bundle, hash_file, list_files
from bark_onnx.compare import GraphError, table
from bark_onnx.tokenizer import Tokenizer
from bark_onnx_bench.checkpoints import save_suno
from bark_onnx_bench.checkpoints import write_tokenizer as write_test_tokenizer
from bark_onnx_export.assets import read_voices, write_tokenizer, write_voices
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_export.write import new_directory

SHORT = GenerationOptions(max_seconds=0.3)
TEXT_ID_SPACE = Vocabulary(text_window=4096)
# Ends a process that writes more than a file may hold with an error, as a full disk does.
LIMITED = """
import resource, signal, sys
limit = int(sys.argv.pop(1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from bark_onnx.cli import main
main(prog_name="bark-onnx")
"""


@dataclass(frozen=True)
class Export:
    """A bundle, and what its export said and returned."""

    directory: Path
    precision: str
    report: list[str]
    errors: list[GraphError]


def make_voice(seed: int = 0) -> VoicePreset:
    rng = np.random.default_rng(seed)
    fine = rng.integers(1024, size=(8, 150))
    return VoicePreset(rng.integers(10_000, size=100), fine[:2], fine)


def write_triple(directory: Path, name: str, voice: VoicePreset) -> None:
    """As the hub has voices: one .npy file for each array."""
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    for key, array in voice.to_prompt().items():
        np.save(directory / f"{name}_{key}.npy", array)


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice as .npz and one as .npy triple."""
    directory = tmp_path_factory.mktemp("presets")
    make_voice(1).save(directory / "announcer.npz")
    write_triple(directory, "v2/en_speaker_6", make_voice(2))
    return directory


@pytest.fixture(scope="module", params=PRECISIONS)
def exported(
    request: pytest.FixtureRequest, checkpoint: Path, presets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Export]:
    """One export for each precision, over an older bundle; int8's weights lie beside the graphs, as large ones do."""
    target = tmp_path_factory.mktemp("exported") / request.param
    target.mkdir()
    for name in (MANIFEST, "stale.onnx"):
        (target / name).write_text("{}")
    report: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "int8":
            patch.setattr("bark_onnx_export.graph.LARGE", 1 << 16)
        options = ExportOptions(request.param, voices=presets, force=True)
        errors = export_bundle(open_checkpoint(str(checkpoint)), target, options, report.append)
    yield Export(target, request.param, report, errors)
    shutil.rmtree(target)


# What is exported


def test_an_export_is_verified_and_says_so(exported: Export) -> None:
    assert [error.stage for error in exported.errors] == list(STAGES)
    assert all(error.within_limit for error in exported.errors)
    assert table(exported.errors) in exported.report
    transformers = [error.relative for error in exported.errors[:3]]
    widest, narrowest = {"fp32": (1e-5, 0), "fp16": (1e-2, 1e-5), "int8": (0.1, 1e-3), "int4": (0.4, 1e-2)}[
        exported.precision
    ]
    assert narrowest < min(transformers) <= max(transformers) < widest  # it is really that precision
    assert exported.errors[3].relative < 1e-5  # the codec is always fp32


def test_the_manifest_says_what_was_made(exported: Export) -> None:
    manifest = Bundle.open(exported.directory).manifest
    embeddings = "fp32" if exported.precision == "fp32" else "fp16"
    assert (manifest.precision, manifest.model, manifest.revision) == (exported.precision, "bark-test", None)
    assert manifest.exporter == __version__
    for stage in ("semantic", "coarse", "fine"):
        precision = getattr(manifest.precisions, stage)
        assert (precision.weights, precision.embeddings) == (exported.precision, embeddings)
    assert manifest.precisions.semantic.kv_cache == ("fp16" if exported.precision == "fp16" else "fp32")
    assert (manifest.precisions.codec.weights, manifest.precisions.codec.embeddings) == ("fp32", "fp32")
    assert manifest.files == list_files(exported.directory)


def test_nothing_is_left_of_the_bundle_that_was_there(exported: Export) -> None:
    assert not (exported.directory / "stale.onnx").exists()
    assert list(exported.directory.parent.iterdir()) == [exported.directory]


def test_an_export_speaks(exported: Export) -> None:
    bark = Bark.load(exported.directory, device="cpu", threads=2)
    speech = bark.generate("hello [laughs]", "v2/en_speaker_6", SHORT, seed=0)
    assert np.isfinite(speech.waveform).all()
    assert np.abs(speech.waveform).max() > 0
    assert len(speech.waveform) == 320 * speech.tokens.fine.shape[1]


def test_voices_come_from_npz_files_and_npy_triples(exported: Export) -> None:
    voices = Bundle.open(exported.directory).voices
    assert list(voices) == ["announcer", "v2/en_speaker_6"]
    for name, seed in (("announcer", 1), ("v2/en_speaker_6", 2)):
        assert VoicePreset.load(voices[name]).to_prompt().keys() == make_voice(seed).to_prompt().keys()
        assert np.array_equal(VoicePreset.load(voices[name]).fine, make_voice(seed).fine)


def test_a_graph_holds_nothing_of_the_machine_that_made_it(exported: Export) -> None:
    """No path, no stack trace, no note: neither in any text nor in the fields for remarks."""
    traces = [str(Path.cwd()), str(exported.directory.parent), sys.prefix, "site-packages", ".py", "stack_trace"]
    for stage in STAGES:
        model = onnx.load(exported.directory / f"{stage}.onnx", load_external_data=False)
        assert [note for note in notes(model) if note] == []
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")  # in which any three bytes can be found
        assert [trace for trace in traces if trace.encode() in model.SerializeToString()] == []


def notes(model: onnx.ModelProto) -> Iterator[Any]:
    """Every place of a model that has room for remarks."""
    graph = model.graph
    yield from (model.doc_string, model.metadata_props, model.domain, graph.doc_string)
    yield graph.metadata_props
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *model.functions):
        yield from (item.doc_string, item.metadata_props)
    for function in model.functions:
        for node in function.node:
            yield from (node.doc_string, node.metadata_props)


def test_large_weights_lie_beside_the_graph_and_are_checked_too(exported: Export, tmp_path: Path) -> None:
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
    """What is quantised differs; what is not is the same file in every bundle."""
    same = ["codec.onnx", TOKENIZER] if exported.precision != "int8" else [TOKENIZER]
    if exported.precision == "fp32":
        same += [f"{stage}.onnx" for stage in STAGES]
    assert [name for name in same if hash_file(exported.directory / name) != hash_file(bundle / name)] == []


def test_both_layouts_give_the_same_bundle(model: BarkModel, bundle: Path, tmp_path: Path) -> None:
    """Byte for byte, apart from the model's name in the manifest."""
    source = save_suno(model, tmp_path / "suno")
    write_test_tokenizer(source)
    export_bundle(open_checkpoint(str(source)), tmp_path / "bundle", ExportOptions(verify=False))
    ours, theirs = (json.loads((directory / MANIFEST).read_text()) for directory in (tmp_path / "bundle", bundle))
    assert ours["files"] == theirs["files"]
    assert (ours.pop("model"), theirs.pop("model")) == ("suno", "bark-test")
    assert ours == theirs


# A bundle is whole or not there


def test_a_failed_verification_writes_no_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(comparison.LIMITS, "int8", 1e-6)
    report: list[str] = []
    with pytest.raises(BarkError, match=r"semantic, coarse, fine \(see the table\): no bundle was written"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("int8"), report.append)
    assert report[-1].count("over the limit") == 3
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_bundle_that_was_there(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    target = shutil.copytree(bundle, tmp_path / "bundle")
    presets = tmp_path / "presets"
    make_voice().save(ensure(presets) / "good.npz")
    (presets / "spoilt.npz").write_text("RIFF")
    with pytest.raises(VoiceError, match=r"spoilt\.npz"):
        export_bundle(open_checkpoint(str(checkpoint)), target, ExportOptions(voices=presets, force=True))
    assert Bundle.open(target).manifest.files == list_files(target)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "presets"}


def ensure(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(checkpoint: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bark_onnx.cli", "export", checkpoint, tmp_path / "bundle"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell would ignore it
    )
    with process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".bundle-*/scratch")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in errors
    assert errors.strip() in (b"", b"Aborted!")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("limit", [4_000, 100_000, 17_000_000], ids=["tokenizer", "graph", "weights"])
def test_a_full_disk_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path, limit: int) -> None:
    """The limit is each file's; semantic.onnx has 18 MB, most of it one tensor."""
    target = tmp_path / "bundle"
    command = [sys.executable, "-c", LIMITED, str(limit), "export", checkpoint, target, "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: no room for {target}")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_whatever_ends_the_writing_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with new_directory(tmp_path / "new" / "bundle", force=False) as directory:
            (directory / "graph").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")], ids=["interrupt", "error"])
def test_an_error_between_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    target = ensure(tmp_path / "bundle")
    (target / MANIFEST).write_text("old")
    rename = Path.rename

    def fail(self: Path, name: Path) -> Path:
        if Path(name) == target and (self / MANIFEST).read_text() == "new":
            raise error
        return rename(self, name)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((KeyboardInterrupt, OSError, BarkError)), new_directory(target, force=True) as directory:
        (directory / MANIFEST).write_text("new")
    assert (target / MANIFEST).read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_may_be_an_empty_directory(tmp_path: Path) -> None:
    target = ensure(tmp_path / "bundle")
    with new_directory(target, force=False) as directory:
        (directory / MANIFEST).write_text("new")
    assert [path.name for path in target.iterdir()] == [MANIFEST]
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_may_be_the_directory_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ensure(tmp_path / "bundle"))
    with new_directory(Path(), force=False) as directory:
        (directory / MANIFEST).write_text("new")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == [MANIFEST]
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_force_replaces_what_a_link_leads_to(tmp_path: Path) -> None:
    (ensure(tmp_path / "real") / MANIFEST).write_text("old")
    (tmp_path / "link").symlink_to("real")
    with new_directory(tmp_path / "link", force=True) as directory:
        (directory / MANIFEST).write_text("new")
    assert (tmp_path / "link" / MANIFEST).read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


@pytest.mark.parametrize("target", [".", "..", "dangling", "file", "file/bundle", "letters"])
def test_a_target_that_cannot_be_one_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    work = ensure(tmp_path / "parent" / "work")
    monkeypatch.chdir(work)
    (tmp_path / "parent" / "file").write_text("mine")
    (work / "file").write_text("mine")
    (work / "dangling").symlink_to("nothing")
    (ensure(work / "letters") / "love.txt").write_text("dear")
    before = sorted(tmp_path.rglob("*"))
    worked = False
    with pytest.raises(BarkError, match=r"\S"), new_directory(Path(target), force=True):
        worked = True
    assert not worked
    assert sorted(tmp_path.rglob("*")) == before


# Voices


def test_the_names_of_voices_are_their_paths(tmp_path: Path) -> None:
    make_voice(1).save(ensure(tmp_path / "a" / "b") / "c.npz")
    write_triple(tmp_path, "d.e", make_voice(2))
    (tmp_path / "README.md").write_text("not a voice")
    found = dict(read_voices(tmp_path))
    assert list(found) == ["a/b/c", "d.e"]
    assert np.array_equal(found["d.e"].semantic, make_voice(2).semantic)


def test_the_real_presets_become_voices(voices: Path, tmp_path: Path) -> None:
    assert write_voices(voices, tmp_path / "voices", Vocabulary()) == 13
    for path in voices.rglob("*.npz"):
        copy = VoicePreset.load(tmp_path / "voices" / path.relative_to(voices))
        assert np.array_equal(copy.fine, VoicePreset.load(path).fine)


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    make_voice().save(ensure(tmp_path / "elsewhere") / "secret.npz")
    make_voice().save(ensure(tmp_path / "presets") / "mine.npz")
    (tmp_path / "presets" / "secret.npz").symlink_to(tmp_path / "elsewhere" / "secret.npz")
    assert [name for name, _ in read_voices(tmp_path / "presets")] == ["mine"]


def spoil_voices(directory: Path, how: str) -> None:
    write_triple(directory, "good", make_voice())
    if how == "incomplete":
        (directory / "good_fine_prompt.npy").unlink()
    elif how == "pickle":
        np.save(directory / "good_coarse_prompt.npy", np.array([{}], object))
    elif how == "damaged":
        (directory / "good_fine_prompt.npy").write_bytes(b"\x93NUMPY\x01\x00")
    elif how == "text":
        (directory / "good_semantic_prompt.npy").write_text("hello")
    elif how == "another model":
        np.save(directory / "good_semantic_prompt.npy", np.array([10_000]))
    elif how == "float":
        np.save(directory / "good_semantic_prompt.npy", np.zeros(9))
    elif how == "nothing":
        for path in directory.iterdir():
            path.unlink()
    elif how == "twice":
        make_voice(3).save(directory / "good.npz")


@pytest.mark.parametrize(
    ("how", "fragments"),
    [
        ("incomplete", ["good_semantic_prompt.npy", "good_fine_prompt.npy"]),
        ("pickle", ["good_coarse_prompt.npy", "cannot be read"]),
        ("damaged", ["good_fine_prompt.npy", "cannot be read"]),
        ("text", ["good_semantic_prompt.npy", "cannot be read"]),
        ("another model", ["good", "does not fit"]),
        ("float", ["good", "float64"]),
        ("nothing", ["has no voices", ".npz", ".npy"]),
        ("twice", ["good"]),
    ],
)
def test_a_voice_that_is_none_is_named(tmp_path: Path, how: str, fragments: list[str]) -> None:
    spoil_voices(tmp_path / "presets", how)
    with pytest.raises(VoiceError) as caught:
        write_voices(tmp_path / "presets", tmp_path / "voices", Vocabulary())
    message = str(caught.value)
    assert message.isprintable()
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize("name", ["a:b", "a\\b"])
def test_a_name_that_a_bundle_cannot_have_fails_before_the_work(checkpoint: Path, tmp_path: Path, name: str) -> None:
    make_voice().save(ensure(tmp_path / "presets") / f"{name}.npz")
    report: list[str] = []
    options = ExportOptions(voices=tmp_path / "presets", verify=False)
    with pytest.raises(BarkError):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", options, report.append)
    assert report == []


@pytest.mark.parametrize(("option", "message"), [("tokenizer", "no such file"), ("voices", "no such directory")])
def test_an_asset_that_is_not_there_is_named(checkpoint: Path, tmp_path: Path, option: str, message: str) -> None:
    options = ExportOptions(**{option: tmp_path / "nowhere"})  # type: ignore[arg-type]
    with pytest.raises(BarkError, match=f"nowhere: {message}"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", options)
    assert list(tmp_path.iterdir()) == []


# Tokenizers


TEXTS = [
    "Hello, my name is Suno. And, uh — and I like pizza. [laughs]",
    "♪ In the jungle, the mighty jungle ♪",
    "¿Qué tal? ÄÖÜ äöü ß, señor! Straße naïve café",
    "e\u0301 is e\u0301, and \u00e9 is not e",
    "你好世界 こんにちは 안녕 привет",
    "hello你好hello",
    "🐶 dogs 👩‍👩‍👧 and 🇫🇷",
    "[CLS] [UNK] [MASK] [PAD] [SEP] [laughter] [MUSIC]",
    "tabs\tand\r\nlines \u00a0 and \u200b nothing \x00 \ufffd",
    "don't... (really?) <|x|> ##ing {a_b} 3.14%",
    "a" * 101,
    "\N{COMBINING ACUTE ACCENT}",
    "ｆｕｌｌ　ｗｉｄｔｈ",
]


@pytest.fixture(scope="module")
def vocab_txt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT's own format, with pieces of many scripts and all the specials in their usual places."""
    directory = tmp_path_factory.mktemp("tokenizer")
    return write_test_tokenizer(directory).with_name("vocab.txt")


@pytest.fixture(scope="module")
def from_vocab_txt(vocab_txt: Path) -> Tokenizer:
    target = vocab_txt.with_name("written.json")
    write_tokenizer(vocab_txt, target, TEXT_ID_SPACE)
    return Tokenizer(target, TEXT_ID_SPACE)


@pytest.fixture(scope="module")
def reference(vocab_txt: Path) -> BertTokenizer:
    return BertTokenizer(str(vocab_txt), do_lower_case=False)


def assert_same_ids(ours: Tokenizer, reference: BertTokenizer, text: str) -> None:
    ids = ours.encode(text)
    expected = reference(" ".join(text.split()), add_special_tokens=False)["input_ids"]
    assert ids[ids != TEXT_ID_SPACE.text_pad].tolist() == [id + TEXT_ID_SPACE.text_offset for id in expected]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_vocab_txt_makes_berts_cased_tokenizer(
    from_vocab_txt: Tokenizer, reference: BertTokenizer, text: str
) -> None:
    assert_same_ids(from_vocab_txt, reference, text)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip))
def test_a_vocab_txt_makes_berts_cased_tokenizer_for_any_text(
    from_vocab_txt: Tokenizer, reference: BertTokenizer, text: str
) -> None:
    assert_same_ids(from_vocab_txt, reference, unicodedata.normalize("NFC", text))


def test_both_formats_of_a_tokenizer_are_the_same(checkpoint: Path, from_vocab_txt: Tokenizer) -> None:
    from_json = Tokenizer(checkpoint / TOKENIZER, TEXT_ID_SPACE)
    for text in TEXTS:
        assert np.array_equal(from_json.encode(text), from_vocab_txt.encode(text))


def test_a_tokenizer_that_cuts_and_pads_of_itself_is_tamed(checkpoint: Path, tmp_path: Path) -> None:
    content = json.loads((checkpoint / TOKENIZER).read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / TOKENIZER).write_text(json.dumps(content), encoding="utf-8")
    write_tokenizer(tmp_path / TOKENIZER, tmp_path / "written.json", TEXT_ID_SPACE)
    ids = Tokenizer(tmp_path / "written.json", TEXT_ID_SPACE).encode("hello world the dog is music")
    assert (ids != TEXT_ID_SPACE.text_pad).sum() == 6


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("vocab.txt", "hello\nworld\n", "lacks [PAD], [UNK], [CLS], [SEP], [MASK]"),
        ("vocab.txt", "", "lacks [PAD]"),
        ("vocab.txt", "\xff", "neither"),
        ("tokenizer.json", "", "neither a tokenizer.json nor a BERT vocab.txt"),
        ("tokenizer.json", "{}", "neither a tokenizer.json nor a BERT vocab.txt"),
    ],
)
def test_a_tokenizer_that_is_none_is_named(tmp_path: Path, name: str, content: str, fragment: str) -> None:
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(BarkError) as caught:
        write_tokenizer(tmp_path / name, tmp_path / "written.json", Vocabulary())
    assert str(caught.value).isprintable()
    assert str(tmp_path / name) in str(caught.value)
    assert fragment in str(caught.value)


def test_a_tokenizer_with_ids_beyond_the_text_space_is_refused(
    vocab_txt: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """The pad ends the text's ids; the message names the file that the user gave."""
    pieces = len(vocab_txt.read_text(encoding="utf-8").splitlines())
    largest_that_fits = Vocabulary().text_pad - pieces
    write_tokenizer(vocab_txt, tmp_path / "fits.json", Vocabulary(text_offset=largest_that_fits))
    for source in (vocab_txt, checkpoint / TOKENIZER):
        with pytest.raises(BarkError, match=f"{source.name}.*{Vocabulary().text_pad}"):
            write_tokenizer(source, tmp_path / "written.json", Vocabulary(text_offset=largest_that_fits + 1))


def test_the_table_names_what_is_over_its_limit() -> None:
    lines = table(
        [GraphError("fine", 0.5, 1.0, 0.25, 0.2), GraphError("codec", math.nan, 0.0, None, 1e-4)]
    ).splitlines()
    assert all("over the limit" in line for line in lines[1:])
    assert "25.0 %" in lines[1]
    assert "%" not in lines[2]
