"""A manifest comes from outside. Any manifest is read, or refused with a one-line BundleError."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bark_onnx import BundleError
from bark_onnx.model.bundle import Bundle, list_files
from bark_onnx.model.manifest import FORMAT_REVISION, MANIFEST, TOKENIZER, FileEntry, Manifest
from bark_onnx.model.sizes import TransformerSize
from manifests import DELETED, GRAPHS, VOICES, Document, Place, document, manifest, put, refused, write_files

T = TypeVar("T")


def test_a_manifest_survives_a_round_trip() -> None:
    written = manifest({name: FileEntry(1, "0" * 64) for name in [*GRAPHS, TOKENIZER, *VOICES, "voices/é.npz"]})
    assert Manifest.from_json(written.to_json()) == written


def test_the_manifest_of_an_exported_bundle_lists_every_file(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.manifest.files == list_files(bundle)
    assert Manifest.from_json((bundle / MANIFEST).read_text(encoding="utf-8")) == opened.manifest
    assert opened.manifest.vocabulary.semantic_size == 100
    assert opened.manifest.sizes.semantic == TransformerSize(2, 2, 16, 1024, 902, 112)


@pytest.mark.parametrize(
    ("place", "value", "fragments"),
    [
        (["format"], 2, ["2", f"reads {FORMAT_REVISION}", "export"]),
        (["format"], True, ["format"]),
        (["format"], "2", ["'2'", f"reads {FORMAT_REVISION}"]),
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
        (["precision"], "int3", ["'int3'", "fp32, fp16, bf16, int8, int4"]),
        (["kv_layout"], "paged", ["'paged'", "static"]),
        (["precisions", "coarse", "kv_cache"], "int2", ["precisions.coarse.kv_cache", "'int2'"]),
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
        (["sizes", "codec", "residual_layers"], 10**9, ["sizes.codec", "impossible"]),
        (["sizes", "codec", "ratios"], (-8, -5, 4, 2), ["sizes.codec", "impossible"]),
        (["sizes", "codec", "ratios"], (320,) + (1,) * 10_000, ["sizes.codec", "impossible"]),
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


@pytest.mark.parametrize(("field", "value"), [("precision", "fp16"), ("precision", "w4a16"), ("kv_layout", "portable")])
def test_a_cache_of_int8_is_for_cpus_and_the_static_layout(field: str, value: str) -> None:
    changed = document()
    put(changed, [field], value)
    put(changed, ["precisions", "coarse", "kv_cache"], "int8")
    with refused("precisions.coarse.kv_cache is int8, which only bundles for CPUs in the static layout have"):
        Manifest.from_json(json.dumps(changed))


def test_a_bundle_of_an_older_revision_is_refused_as_the_docs_say() -> None:
    """Whatever else is in it: a revision may have had other fields."""
    with pytest.raises(BundleError) as refusal:
        Manifest.from_json(json.dumps({"format": 0, "exporter": "0.0.9", "colour": "red"}))
    page = (Path(__file__).parents[2] / "docs" / "versioning.md").read_text(encoding="utf-8")
    assert f"```text\nbundles/old: {refusal.value}\n```" in page


def test_all_problems_are_named_at_once() -> None:
    changed = document()
    for place, value in ((["model"], DELETED), (["kind"], 1), (["vocabulary", "text_pad"], []), (["precision"], 8)):
        put(changed, place, value)
    with refused("model is missing", "kind is unknown", "vocabulary.text_pad is []", "precision is 8"):
        Manifest.from_json(json.dumps(changed))


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


@pytest.fixture(scope="module")
def plain_to_share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("shared") / "plain")


def unless_refused(read: Callable[[], T]) -> T | None:
    """The manifest, or None if it is refused with one line."""
    try:
        return read()
    except BundleError as error:
        message = str(error)
    assert message.isprintable(), repr(message)
    return None


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
