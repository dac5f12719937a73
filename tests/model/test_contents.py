"""Graphs and tokenizers that are not what the manifest says are refused, though their hashes are right."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, Vocabulary
from bark_onnx.model.bundle import list_files
from bark_onnx.model.manifest import MANIFEST, STAGES, TOKENIZER
from bark_onnx.model.tokenizer import Tokenizer
from manifests import Place, put, refused
from onnx_files import FLOAT, external_tensor, model, node, value_info

SHORT = GenerationOptions(max_seconds=0.1)


@pytest.fixture
def spoilt(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes copies of a real bundle with other contents of some files, their hashes made right, or other fields."""

    def spoil(files: dict[str, bytes] | None = None, fields: dict[Place, object] | None = None) -> Path:
        directory = tmp_path / "spoilt"
        directory.mkdir()
        for path in bundle.iterdir():
            if path.name not in (files or {}):
                shutil.copy(path, directory)
        for name, content in (files or {}).items():
            (directory / name).write_bytes(content)
        changed = json.loads((directory / MANIFEST).read_text())
        changed["files"] = {
            name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in list_files(directory).items()
        }
        for place, value in (fields or {}).items():
            put(changed, place, value)
        (directory / MANIFEST).write_text(json.dumps(changed))
        return directory

    return spoil


def speak(directory: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        Bark.load(directory, device="cpu", threads=1).generate("hello", voice=None, options=SHORT, seed=0)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("damage", ["truncated", "empty", "another file", "flipped"])
def test_a_graph_that_is_none_is_named(bundle: Path, spoilt: Callable[..., Path], stage: str, damage: str) -> None:
    content = (bundle / f"{stage}.onnx").read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "another file": (bundle / TOKENIZER).read_bytes(),
        "flipped": bytes([content[0] ^ 0xFF]) + content[1:],
    }
    directory = spoilt({f"{stage}.onnx": damaged[damage]})
    with refused(f"{stage}.onnx"):
        Bark.load(directory, device="cpu")


@pytest.mark.parametrize(
    ("stage", "other"),
    [("semantic", "fine"), ("semantic", "codec"), ("coarse", "semantic"), ("fine", "codec"), ("codec", "fine")],
)
def test_a_graph_of_another_stage_is_named(bundle: Path, spoilt: Callable[..., Path], stage: str, other: str) -> None:
    directory = spoilt({f"{stage}.onnx": (bundle / f"{other}.onnx").read_bytes()})
    with refused(f"{stage}.onnx"):
        speak(directory)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("sizes", "semantic", "layers"), 1),
        (("sizes", "semantic", "layers"), 3),
        (("sizes", "semantic", "heads"), 4),
        (("sizes", "semantic", "width"), 1 << 40),
        (("sizes", "semantic", "context"), 2048),
        (("sizes", "semantic", "input_vocabulary"), 200_000),
        (("sizes", "coarse", "width"), 64),
        (("precisions", "semantic", "kv_cache"), "fp16"),
        (("vocabulary", "semantic_size"), 9_000),
        (("vocabulary", "semantic_infer"), 200_000),
        (("vocabulary", "coarse_infer"), 200_000),
        (("vocabulary", "coarse_rate"), 1.0),
    ],
    ids=lambda part: ".".join(part) if isinstance(part, tuple) else str(part),
)
def test_a_manifest_that_contradicts_the_graphs_is_refused(
    spoilt: Callable[..., Path], place: Place, value: object
) -> None:
    directory = spoilt(fields={place: value})
    with refused():
        speak(directory)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_a_graph_cannot_read_outside_the_bundle(spoilt: Callable[..., Path], tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(400))
    codes, waveform = (value_info(name, FLOAT, 100) for name in ("codes", "waveform"))
    weights = external_tensor("w", 100, location)
    content = model(node("Add", ["codes", "w"], "waveform"), [codes], [waveform], [weights])
    directory = spoilt({"codec.onnx": content})
    with refused("codec.onnx", "External data path"):
        Bark.load(directory, device="cpu")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"hello\nworld\n", b"\xff\xfe", b"[" * 10_000],
    ids=["empty", "object", "text", "utf-16", "deep"],
)
def test_a_tokenizer_that_is_none_is_named(spoilt: Callable[..., Path], content: bytes) -> None:
    directory = spoilt({TOKENIZER: content})
    with refused(TOKENIZER, "not a tokenizer"):
        Bark.load(directory, device="cpu")


def test_a_tokenizer_with_an_id_beyond_the_text_space_is_refused(bundle: Path, tmp_path: Path) -> None:
    """However few pieces it has."""
    content = json.loads((bundle / TOKENIZER).read_text(encoding="utf-8"))
    content["model"]["vocab"]["hello"] = 1_000_000
    (tmp_path / TOKENIZER).write_text(json.dumps(content), encoding="utf-8")
    with refused(TOKENIZER, "1010048"):
        Tokenizer(tmp_path / TOKENIZER, Vocabulary())


def test_the_last_text_id_is_the_one_before_the_pad(bundle: Path) -> None:
    last = max(json.loads((bundle / TOKENIZER).read_text(encoding="utf-8"))["model"]["vocab"].values())
    pad = Vocabulary().text_pad
    Tokenizer(bundle / TOKENIZER, Vocabulary(text_offset=pad - last - 1))
    with refused(TOKENIZER):
        Tokenizer(bundle / TOKENIZER, Vocabulary(text_offset=pad - last))


def test_a_tokenizer_without_a_piece_for_the_unknown_is_an_error_of_its_own(bundle: Path, tmp_path: Path) -> None:
    content = json.loads((bundle / TOKENIZER).read_text(encoding="utf-8"))
    content["model"]["unk_token"] = "[NONE]"
    (tmp_path / TOKENIZER).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BarkError):
        Tokenizer(tmp_path / TOKENIZER, Vocabulary()).encode("\N{SNOWMAN}")
