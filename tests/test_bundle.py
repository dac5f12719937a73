"""A bundle comes from outside: whatever is wrong with one is a BundleError of one line, and nothing else."""

import copy
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bark_onnx import Bark, BarkError, BundleError, GenerationOptions, Vocabulary
from bark_onnx.bundle import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    STAGES,
    TOKENIZER,
    Bundle,
    CausalPrecision,
    FileEntry,
    GraphPrecision,
    Manifest,
    Precisions,
    Sizes,
    hash_file,
    list_files,
)
from bark_onnx.sizes import CodecSize, TransformerSize
from bark_onnx.tokenizer import Tokenizer

Document = dict[str, Any]
Place = Sequence[str | int]
T = TypeVar("T")

GRAPHS = [f"{stage}.onnx" for stage in STAGES]
VOICES = ["voices/announcer.npz", "voices/v2/en_speaker_6.npz", "voices/v2/en_speaker_10.npz"]
DELETED = object()
SHORT = GenerationOptions(max_seconds=0.1)


def manifest(files: dict[str, FileEntry]) -> Manifest:
    """That of bark-small, the files aside."""
    transformer = TransformerSize(12, 12, 768, 1024, 129_600, 12_096)
    causal = CausalPrecision("int8", "fp16", "fp32")
    return Manifest(
        format=1,
        model="suno/bark-small",
        revision=None,
        exporter="0.1.0",
        precision="int8",
        kv_layout="static",
        precisions=Precisions(causal, causal, GraphPrecision("int8", "fp16"), GraphPrecision("fp32", "fp32")),
        sizes=Sizes(transformer, transformer, transformer, CodecSize()),
        vocabulary=Vocabulary(),
        files=files,
    )


def write_files(directory: Path) -> Path:
    """A bundle whose files are a few bytes each: right for everything that does not load them."""
    for name in [*GRAPHS, TOKENIZER, *VOICES]:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"what {name} holds")
    (directory / MANIFEST).write_text(manifest(list_files(directory)).to_json())
    return directory


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_files(tmp_path / "plain")


@pytest.fixture(scope="module")
def plain_to_share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("shared") / "plain")


def document() -> Document:
    """What manifest.json says, with hashes that no file has."""
    entry = FileEntry(1, "0" * 64)
    return json.loads(manifest(dict.fromkeys([*GRAPHS, TOKENIZER], entry)).to_json())


def put(value: Any, place: Place, new: object) -> None:
    """Set, add or (DELETED) remove what stands at a place of a JSON document."""
    for step in place[:-1]:
        value = value[step]
    if new is DELETED:
        del value[place[-1]]
    else:
        value[place[-1]] = new


@contextmanager
def refused(*fragments: str) -> Iterator[None]:
    """A BundleError that names all of these on one readable line."""
    with pytest.raises(BundleError) as caught:
        yield
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert len(message) < 1000
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def unless_refused(read: Callable[[], T]) -> T | None:
    """What is read, or None if it is refused on one line."""
    try:
        return read()
    except BundleError as error:
        message = str(error)
    assert message.isprintable(), repr(message)
    return None


# The manifest


def test_a_manifest_survives_a_round_trip() -> None:
    written = manifest({name: FileEntry(1, "0" * 64) for name in [*GRAPHS, TOKENIZER, *VOICES, "voices/é.npz"]})
    assert Manifest.from_json(written.to_json()) == written


def test_an_exported_bundle_says_of_every_file_what_it_is(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.manifest.files == list_files(bundle)
    assert Manifest.from_json((bundle / MANIFEST).read_text(encoding="utf-8")) == opened.manifest
    assert opened.manifest.vocabulary == Vocabulary()
    assert opened.manifest.sizes.semantic == TransformerSize(2, 2, 32, 1024, 129_600, 10_048)


@pytest.mark.parametrize(
    ("place", "value", "fragments"),
    [
        (["format"], 2, ["2", "reads 1", "export"]),
        (["format"], True, ["format"]),
        (["format"], "1", ["'1'", "reads 1"]),
        (["format"], DELETED, ["format"]),
        (["model"], DELETED, ["model is missing"]),
        (["colour"], "red", ["colour is unknown"]),
        (["model"], None, ["model is None", "str"]),
        (["revision"], 7, ["revision is 7", "str"]),
        (["files"], [], ["files is []"]),
        (["files", "codec.onnx"], DELETED, ["files lacks codec.onnx"]),
        (["files", TOKENIZER], DELETED, [f"files lacks {TOKENIZER}"]),
        (["files", "codec.onnx", "bytes"], 1.0, ["codec.onnx", "bytes", "1.0", "int"]),
        (["files", "codec.onnx", "sha256"], DELETED, ["codec.onnx", "sha256 is missing"]),
        (["precision"], "int3", ["'int3'", "fp32, fp16, int8, int4"]),
        (["kv_layout"], "paged", ["'paged'", "static"]),
        (["precisions", "coarse", "kv_cache"], "int8", ["precisions.coarse.kv_cache", "'int8'"]),
        (["precisions", "fine", "kv_cache"], "fp32", ["precisions.fine.kv_cache is unknown"]),
        (["sizes", "codec"], [], ["sizes.codec is []"]),
        (["sizes", "semantic", "layers"], 0, ["sizes.semantic", "impossible"]),
        (["sizes", "semantic", "layers"], 100_000, ["sizes.semantic", "impossible"]),
        (["sizes", "coarse", "heads"], -1, ["sizes.coarse", "impossible"]),
        (["sizes", "coarse", "heads"], 7, ["sizes.coarse", "impossible"]),
        (["sizes", "semantic", "width"], 12 << 36, ["sizes.semantic", "impossible"]),
        (["sizes", "fine", "context"], 512, ["sizes.fine: context is 512", "1024"]),
        (["sizes", "semantic", "context"], 1 << 20, ["sizes.semantic", "impossible"]),
        (["sizes", "codec", "codebooks"], 7, ["7 codebooks"]),
        (["vocabulary", "text_pad"], DELETED, ["vocabulary.text_pad is missing"]),
        (["vocabulary", "text_pad"], "x", ["vocabulary.text_pad is 'x'", "int"]),
        (["vocabulary", "semantic_rate"], 0, ["semantic_rate"]),
        (["vocabulary", "semantic_rate"], float("nan"), ["semantic_rate"]),
        (["vocabulary", "semantic_rate"], 10**400, ["semantic_rate"]),
        (["vocabulary", "text_offset"], 5, ["overlap"]),
        (["vocabulary", "sample_rate"], 44_000, ["44000"]),
    ],
    ids=lambda part: ".".join(part) if isinstance(part, list) else repr(part)[:20],
)
def test_reading_is_strict(place: Place, value: object, fragments: list[str]) -> None:
    changed = document()
    put(changed, place, value)
    with refused(*fragments):
        Manifest.from_json(json.dumps(changed))


def test_all_problems_are_named_at_once() -> None:
    changed = document()
    for place, value in ((["model"], DELETED), (["kind"], 1), (["vocabulary", "text_pad"], []), (["precision"], 8)):
        put(changed, place, value)
    with refused("model is missing", "kind is unknown", "vocabulary.text_pad is []", "precision is 8"):
        Manifest.from_json(json.dumps(changed))


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
def test_what_is_no_manifest_is_refused(plain: Path, content: bytes, fragment: str) -> None:
    (plain / MANIFEST).write_bytes(content)
    with refused(fragment, str(plain)):
        Bundle.open(plain)


@pytest.mark.parametrize(
    "place",
    [["precision"], ["kv_layout"], ["precisions", "semantic", "kv_cache"], ["format"], ["revision"]],
    ids=lambda place: place[-1],
)
@pytest.mark.parametrize("value", ["x" * 10_000, ["x\ny"] * 1000, {"\x1b[31m\n": 1}], ids=["long", "list", "object"])
def test_an_odd_value_does_not_flood_the_message(place: Place, value: object) -> None:
    changed = document()
    put(changed, place, value)
    if place == ["revision"] and isinstance(value, str):
        return  # any text is a revision
    with refused(place[-1]):
        Manifest.from_json(json.dumps(changed))


@pytest.mark.parametrize("name", ["a\nError: b", "\x1b[31m", "x" * 5000, "\ud800"], ids=lambda name: ascii(name)[:20])
def test_an_odd_field_does_not_break_the_message(name: str) -> None:
    with refused(MANIFEST):
        Manifest.from_json(json.dumps(document() | {name: 1}))


# The files


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


def test_a_path_outside_the_bundle_is_not_even_looked_at(plain: Path) -> None:
    """A right size and hash do not help."""
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


def test_a_file_beside_the_named_ones_does_no_harm(plain: Path) -> None:
    (plain / "README.md").write_text("mine")
    assert Bundle.open(plain).directory == plain


def test_voices_are_listed_by_name(plain: Path) -> None:
    voices = Bundle.open(plain).voices
    assert list(voices) == ["announcer", "v2/en_speaker_10", "v2/en_speaker_6"]
    assert voices["v2/en_speaker_6"] == plain / "voices/v2/en_speaker_6.npz"


@pytest.mark.parametrize("kind", ["nothing", "file", "empty directory"])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "target"
    if kind == "file":
        path.write_text("GGUF")
    elif kind == "empty directory":
        path.mkdir()
    with refused(str(path), "not a bundle", "bark-onnx export"):
        Bundle.open(path)


# Any manifest at all

TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(["fp16", "int8", "fp32", "voices", "voices/a.npz"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 10**9, 2**31, 10**400, -(10**400)])
    | st.floats()
    | TEXTS
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


def places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a JSON document except its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        yield (*at, step)
        yield from places(inner, (*at, step))


@st.composite
def mutations(draw: st.DrawFn, original: Document) -> Document:
    """The document with one to three fields deleted, renamed, replaced or moved."""
    changed = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(changed))))
        kind = draw(st.sampled_from(["delete", "rename", "replace", "replace", "move"]))
        value = changed
        for step in place:
            value = value[step]
        if kind in ("delete", "rename"):
            put(changed, place, DELETED)
        if kind == "replace":
            put(changed, place, draw(VALUES))
        elif kind == "move":
            put(changed, place, copy.deepcopy(draw(st.sampled_from(list(original.values())))))
        elif kind == "rename" and isinstance(place[-1], str):
            put(changed, (*place[:-1], draw(TEXTS)), value)
        if not changed:
            break
    return changed


@settings(max_examples=400, deadline=None)
@given(mutations(document()))
def test_any_change_to_a_manifest_is_understood_or_refused(changed: Document) -> None:
    parsed = unless_refused(lambda: Manifest.from_json(json.dumps(changed)))
    assert parsed is None or json.loads(parsed.to_json()) == changed


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_to_a_manifest_leaves_a_bundle_or_an_error(
    plain_to_share: Path, tmp_path: Path, data: st.DataObject
) -> None:
    original = json.loads((plain_to_share / MANIFEST).read_text())
    directory = tmp_path / "bundle"
    if not directory.is_dir():
        shutil.copytree(plain_to_share, directory)
    (directory / MANIFEST).write_text(json.dumps(data.draw(mutations(original))))
    opened = unless_refused(lambda: Bundle.open(directory))
    assert opened is None or all(path.is_file() for path in opened.voices.values())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_random_bytes_are_no_manifest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with refused():
        Bundle.open(tmp_path)


# Graphs and tokenizers that are not what the manifest says


@pytest.fixture
def spoilt(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes copies of a real bundle with other contents of some files, their hashes made right, or other fields."""

    def spoil(files: dict[str, bytes] | None = None, fields: dict[Place, object] | None = None) -> Path:
        directory = tmp_path / "spoilt"
        directory.mkdir()
        for path in bundle.iterdir():
            if path.name not in (files or {}):
                (directory / path.name).hardlink_to(path)
        for name, content in (files or {}).items():
            (directory / name).write_bytes(content)
        changed = json.loads((directory / MANIFEST).read_text())
        changed["files"] = {
            name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in list_files(directory).items()
        }
        for place, value in (fields or {}).items():
            put(changed, place, value)
        (directory / MANIFEST).unlink()
        (directory / MANIFEST).write_text(json.dumps(changed))
        return directory

    return spoil


def speak(directory: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        Bark.load(directory, device="cpu", threads=1).generate("hello", None, SHORT, seed=0)


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
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "400")):
        weights.external_data.add(key=key, value=value)
    codes, waveform = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [100]) for name in ("codes", "waveform"))
    add = helper.make_node("Add", ["codes", "w"], ["waveform"])
    graph = helper.make_graph([add], "codec", [codes], [waveform], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    directory = spoilt({"codec.onnx": model.SerializeToString()})
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
