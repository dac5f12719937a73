"""Bundles of a few bytes, changes to what their manifests say, and the error that refuses them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bark_onnx import BundleError, Vocabulary
from bark_onnx.model.bundle import list_files
from bark_onnx.model.manifest import (
    FORMAT_REVISION,
    MANIFEST,
    STAGES,
    TOKENIZER,
    CausalPrecision,
    FileEntry,
    GraphPrecision,
    Manifest,
    Precisions,
    Sizes,
    graph_file,
)
from bark_onnx.model.sizes import CodecSize, TransformerSize

Document = dict[str, Any]
Place = Sequence[str | int]

GRAPHS = [graph_file(stage) for stage in STAGES]
VOICES = ["voices/announcer.npz", "voices/v2/en_speaker_6.npz", "voices/v2/en_speaker_10.npz"]
DELETED = object()


def manifest(files: dict[str, FileEntry]) -> Manifest:
    """That of bark-small, the files aside."""
    transformer = TransformerSize(12, 12, 768, 1024, 129_600, 12_096)
    causal = CausalPrecision("int8", "fp16", "fp32", "int8")
    return Manifest(
        format=FORMAT_REVISION,
        model="suno/bark-small",
        revision=None,
        exporter="0.1.0",
        precision="int8",
        kv_layout="static",
        precisions=Precisions(causal, causal, GraphPrecision("int8", "fp16"), GraphPrecision("fp32", "fp32")),
        matrices={},
        quality={},
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
