"""Files of a bundle come from outside. One that is missing, damaged or outside the bundle is a one-line BundleError."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bark_onnx.errors import BundleError, HubError
from bark_onnx.model.bundle import Bundle, hash_file
from bark_onnx.model.manifest import MANIFEST, MAX_MANIFEST_BYTES, SAMPLERS, TOKENIZER, Manifest, graph_file
from bark_onnx.model.place import EMBEDDED
from manifests import VOICES, document, refused, write_files


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_files(tmp_path / "plain")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "not JSON"),
        (b"GGUF\x00\x01", "not JSON"),
        (b"\xff\xfe{}", "cannot be read"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "format"),
        (b"[" * 100_000, "not JSON"),
        (b'{"format":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
        (b'{"format":' + b"[" * 700 + b"]" * 700 + b"}", "format"),
        (b'{"format": ' + b"1" * 10_000 + b"}", "not JSON"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "4 MiB"),
    ],
    ids=["empty", "binary", "utf-16", "list", "null", "object", "deep", "deeper", "deep format", "digits", "huge"],
)
def test_a_file_that_is_no_manifest_is_refused(plain: Path, content: bytes, fragment: str) -> None:
    (plain / MANIFEST).write_bytes(content)
    with refused(fragment, str(plain)):
        Bundle.open(plain)


def add_file(directory: Path, name: str, **entry: object) -> None:
    """Name one more file in the manifest."""
    changed = json.loads((directory / MANIFEST).read_text())
    changed["files"][name] = {"bytes": 0, "sha256": "0" * 64} | entry
    (directory / MANIFEST).write_text(json.dumps(changed))


@pytest.mark.parametrize(
    "name",
    [
        "../x", "/etc/passwd", "a\\..\\b", "voices/../../x", "C:/x", "c:x", "./codec.onnx", "voices//x.npz", "voices/",
        "", ".", "a\0b", "\ud800", "a\nb", "voices",
    ],
)  # fmt: skip
def test_a_path_that_is_no_plain_one_inside_the_bundle_is_refused(plain: Path, name: str) -> None:
    add_file(plain, name)
    with refused("files"):
        Manifest.from_json((plain / MANIFEST).read_text())
    with refused(str(plain)):
        Bundle.open(plain)


@pytest.mark.parametrize(
    "name", ["notes.txt", "extra.onnx", "coarse.sampler.onnx", "coarse.step.onnx", "voices/readme.txt", "fine.data"]
)
def test_a_file_that_does_not_belong_to_the_bundle_is_refused(plain: Path, name: str) -> None:
    """Sampler graphs do not belong to a bundle for CPUs, nor step graphs to one in int8."""
    add_file(plain, name)
    with refused(f"files names '{name}', which does not belong to this bundle"):
        Bundle.open(plain)


@pytest.mark.parametrize("name", ["coarse.onnx.data", "voices/new.npz"])
def test_weights_beside_a_graph_and_voices_belong_to_it(plain: Path, name: str) -> None:
    add_file(plain, name)
    with refused(f"{name} is missing"):
        Bundle.open(plain)


@pytest.mark.parametrize(
    ("precision", "layout", "for_gpu"),
    [
        ("fp32", "static", False), ("fp32", "portable", True), ("fp16", "static", True), ("fp16", "portable", True),
        ("bf16", "static", True), ("w8a16", "static", True), ("w4a16", "static", True), ("int8", "static", False),
        ("int8", "portable", False), ("int4", "static", False),
    ],
)  # fmt: skip
def test_bundles_for_gpus_have_sampler_graphs_and_others_have_none(precision: str, layout: str, for_gpu: bool) -> None:
    changed = document() | {"precision": precision, "kv_layout": layout}
    entry = next(iter(changed["files"].values()))
    samplers = {graph_file(*sampler): entry for sampler in SAMPLERS}
    for has_samplers in (False, True):
        changed["files"] = document()["files"] | (samplers if has_samplers else {})
        if has_samplers == for_gpu:
            assert Manifest.from_json(json.dumps(changed)).for_gpu == for_gpu
            continue
        complaint = "files names" if has_samplers else "files lacks"
        with refused(f"{complaint} {'coarse.top_k_top_p.onnx'!r}" if has_samplers else f"{complaint} coarse.top_k"):
            Manifest.from_json(json.dumps(changed))


def test_a_path_outside_the_bundle_is_not_opened(plain: Path) -> None:
    """It is refused although its size and hash are right."""
    outside = plain.parent / "outside"
    outside.write_text("secret")
    add_file(plain, "../outside", bytes=6, sha256=hash_file(outside))
    with refused("'../outside'"):
        Bundle.open(plain)


def remove(path: Path) -> None:
    path.unlink()


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (remove, "fine.onnx is missing"),
        (lambda path: path.write_text(""), "fine.onnx has 0 bytes instead of 20"),
        (lambda path: path.write_text("What fine.onnx holds"), "fine.onnx has another hash"),
        (put_directory, "fine.onnx"),
        (put_loop, "fine.onnx cannot be read"),
    ],
    ids=["missing", "truncated", "changed", "directory", "loop"],
)
def test_a_damaged_file_is_named(plain: Path, spoil: Callable[[Path], object], fragment: str) -> None:
    spoil(plain / "fine.onnx")
    with refused(str(plain), "damaged", fragment, "export"):
        Bundle.open(plain)


def test_all_damaged_files_are_named_at_once(plain: Path) -> None:
    remove(plain / "fine.onnx")
    (plain / TOKENIZER).write_text("{}")
    (plain / VOICES[1]).write_text(f"What {VOICES[1]} holds")
    with refused("fine.onnx is missing", f"{TOKENIZER} has 2 bytes", f"{VOICES[1]} has another hash"):
        Bundle.open(plain)


def test_a_file_that_the_manifest_does_not_name_is_ignored(plain: Path) -> None:
    (plain / "README.md").write_text("mine")
    assert Bundle.open(plain).directory == plain


def test_voices_are_listed_by_name(plain: Path) -> None:
    voices = Bundle.open(plain).voices
    assert list(voices) == ["announcer", "v2/en_speaker_10", "v2/en_speaker_6"]
    assert voices["v2/en_speaker_6"] == plain / "voices/v2/en_speaker_6.npz"


@pytest.mark.parametrize(
    ("kind", "fragment"),
    [("nothing", "no such directory"), ("file", "is a file, not a bundle"), ("empty directory", "is not a bundle")],
)
def test_a_directory_that_is_no_bundle_is_an_error(tmp_path: Path, kind: str, fragment: str) -> None:
    path = tmp_path / "target"
    if kind == "file":
        path.write_text("GGUF")
    elif kind == "empty directory":
        path.mkdir()
    with refused(str(path), fragment, "bark-onnx export"):
        Bundle.open(path)


def test_without_huggingface_hub_a_name_on_the_hub_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "bark_onnx.hub.snapshot", raising=False)
    with pytest.raises(HubError) as caught:
        Bundle.open("me/bark@v1")
    message = str(caught.value)
    assert message.startswith("me/bark@v1: no such directory; to read it from the Hugging Face hub, install a current ")
    assert message.endswith(
        "huggingface_hub: in a checkout of bark-onnx, run pip install '.[hub]' (with its wheel: 'WHEEL[hub]')"
    )


def test_a_directory_goes_before_the_hub(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a link to nothing, which is an error."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "bark_onnx.hub.snapshot", raising=False)
    monkeypatch.chdir(plain.parent)
    Path("me").mkdir()
    plain.rename("me/bark@v1")
    assert Bundle.open("me/bark@v1").repository is None
    Path("me/other").symlink_to("nothing")
    with refused("me/other: no such directory; `bark-onnx export` makes"):
        Bundle.open("me/other")


def test_the_embedded_bundle_has_a_name(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of that name goes before it."""
    monkeypatch.chdir(tmp_path)
    assert Bundle.open("nano").directory == Bundle.open(Path("nano")).directory == EMBEDDED
    plain.rename(tmp_path / "nano")
    assert Bundle.open("nano").directory == Path("nano")


def test_the_home_directory(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(plain.parent))
    assert Bundle.open(f"~/{plain.name}").directory == plain


@pytest.mark.parametrize("given", [7, b"bundle", "a\0b", "a" * 5000, "", "~nobody-of-this-name/bundle"])
def test_what_is_no_path_is_one_clear_error(given: Any) -> None:
    with pytest.raises(BundleError):
        Bundle.open(given)


@pytest.mark.parametrize(
    ("field", "value", "fragment"),
    [
        ("matrices", {"semantic.onnx": {"head": "int4\x1b[2J\nprecision fake"}}, "matrices has the format"),
        ("matrices", {"other.onnx": {}}, "matrices names 'other.onnx'"),
        ("quality", {"semantic": {"kl": float("nan")}}, "not a finite number"),
        ("quality", {"semantic": {"kl": "low"}}, "expected float"),
        ("quality", {"nose": {}}, "quality names 'nose'"),
    ],
)
def test_formats_and_figures_of_strangers_are_checked(
    plain: Path, field: str, value: dict[str, object], fragment: str
) -> None:
    changed = json.loads((plain / MANIFEST).read_text()) | {field: value}
    (plain / MANIFEST).write_text(json.dumps(changed))
    with refused(fragment, str(plain)):
        Bundle.open(plain)


def test_a_format_of_weights_that_does_not_exist_is_refused(plain: Path) -> None:
    changed = json.loads((plain / MANIFEST).read_text())
    changed["precisions"]["fine"]["weights"] = "int7"
    (plain / MANIFEST).write_text(json.dumps(changed))
    with refused("precisions.fine.weights is 'int7'", str(plain)):
        Bundle.open(plain)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_in_the_place_of_a_manifest_does_not_hang(plain: Path) -> None:
    (plain / MANIFEST).unlink()
    os.mkfifo(plain / MANIFEST)
    with refused("not a plain file", str(plain)):
        Bundle.open(plain)
