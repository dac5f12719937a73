"""Damaged and hostile journals: nothing in them is executed, no link is followed, and no number is trusted.

A passage that cannot be read counts as not spoken. A plan that cannot be read is an error, and the directory does not
change.
"""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_onnx import BarkError, Journal
from bark_onnx.long.guards import Problem
from bark_onnx.long.journal import PLAN, Record
from passages import SPACE
from voices import make_voice

JOB = {"fingerprint": "0123", "seed": 11}
SHORT = Problem("short", "0.1 s of speech where about 1.0 s are expected")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with one passage."""
    journal = Journal(tmp_path / "journal", **JOB)
    waveform = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    journal.save(0, Record(waveform, make_voice(SPACE, seed=1), 5, 2, (SHORT,), (SHORT,)))
    return journal


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(f"{name}.npy", content)
    return file.getvalue()


def header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The header of an array, without the array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def changed(**changes: Any) -> Callable[[bytes], bytes]:
    """Replace some arrays of the passage, or leave them out (None)."""

    def change(content: bytes) -> bytes:
        file = io.BytesIO()
        arrays = dict(np.load(io.BytesIO(content))) | changes
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
        return file.getvalue()

    return change


def about(**changes: Any) -> Callable[[bytes], bytes]:
    """Replace some of the JSON about the passage."""

    def change(content: bytes) -> bytes:
        values = json.loads(str(np.load(io.BytesIO(content))["about"])) | changes
        return changed(about=np.array(json.dumps(values)))(content)

    return change


def flipped(content: bytes) -> bytes:
    """Compress the passage and overwrite bytes in the middle."""
    file = io.BytesIO()
    np.savez_compressed(file, **np.load(io.BytesIO(content)))
    damaged = bytearray(file.getvalue())
    damaged[60:200] = bytes(140)
    return bytes(damaged)


PROBLEM = {"name": "short", "detail": "0.1 s"}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"PK but no archive",
    "truncated": lambda content: content[: len(content) // 2],
    "end missing": lambda content: content[:-10],
    "bit flipped": lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    "deflate damaged": flipped,
    "encrypted": lambda content: re.sub(rb"(PK\x01\x02.{4}).", rb"\1\001", content, flags=re.DOTALL),
    "pickle": changed(samples=np.array([print], object)),
    "bomb": lambda content: archive(samples=header((17 << 20,), "<f4") + bytes(68 << 20)),
    "header only": lambda content: archive(samples=header((1 << 45,), "<f4"), about=header((), "<U9") + bytes(36)),
    "no arrays": lambda content: archive(samples=b"hello", about=b'{"seed": 1}'),
    "doubles": changed(samples=np.zeros(9)),
    "other endian": changed(samples=np.zeros(9, ">f4")),
    "two channels": changed(samples=np.zeros((9, 2), np.float32)),
    "no samples": changed(samples=None),
    "tokens incomplete": changed(coarse_prompt=None),
    "tokens of another model": changed(semantic_prompt=np.array([SPACE.semantic_size])),
    "no JSON": changed(about=None),
    "JSON is junk": changed(about=np.array("junk")),
    "JSON is a list": changed(about=np.array("[1, 2]")),
    "JSON is deep": changed(about=np.array("[" * 100_000)),
    "infinite seed": about(seed=float("inf")),
    "seed no number": about(seed="1"),
    "attempts no number": about(attempts=[]),
    "huge number": changed(about=np.array(f'{{"seed": 1{"0" * 5000}}}')),
    "unknown problem": about(problems=[PROBLEM | {"name": "haunted\n\x1b[31m"}]),
    "problem with more": about(problems=[PROBLEM | {"more": 1}]),
    "problem with less": about(rejected=[{"name": "short"}]),
    "problem no text": about(problems=[PROBLEM | {"detail": 1}]),
    "problem no object": about(problems="short"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_passage_that_cannot_be_read_counts_as_not_spoken(journal: Journal, damage: str) -> None:
    path = journal.directory / "00000.npz"
    content = path.read_bytes()
    path.write_bytes(DAMAGE[damage](content))
    assert path.read_bytes() != content
    assert journal.load(0, SPACE) is None
    path.write_bytes(content)
    assert journal.load(0, SPACE) is not None


@pytest.mark.parametrize(
    "make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)], ids=["pipe", "dir", "loop"]
)
def test_only_plain_files_are_read(journal: Journal, make: Callable[[Path], None]) -> None:
    make(journal.directory / "00001.npz")
    assert journal.load(1, SPACE) is None
    (journal.directory / PLAN).unlink()
    make(journal.directory / PLAN)
    assert_refused(journal, PLAN)


PLANS = [
    b"", b"junk", b"[]", b"{}", b'"journal"', b"\xff\xfe", b"[" * 60_000, b'{"a":' * 10_000, b"1" * 5000, b" " * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("content", PLANS, ids=lambda content: repr(content[:8]))
def test_an_invalid_plan_is_refused_and_not_changed(journal: Journal, content: bytes) -> None:
    (journal.directory / PLAN).write_bytes(content)
    assert_refused(journal, PLAN)


@pytest.mark.parametrize("seed", ["1e999", "NaN", "-1", '"11"', "null", "1" * 4000, "[11]", "18446744073709551616"])
def test_an_impossible_seed_counts_as_none(journal: Journal, seed: str) -> None:
    (journal.directory / PLAN).write_text(f'{{"format": 1, "fingerprint": "0123", "seed": {seed}}}')
    assert Journal.seed(journal.directory) is None
    with pytest.raises(BarkError, match="journal of another job"):
        Journal(journal.directory, **JOB)


def test_a_plan_of_another_format_is_another_job(journal: Journal) -> None:
    (journal.directory / PLAN).write_text('{"format": 1, "fingerprint": "0123", "seed": 11}')
    with pytest.raises(BarkError, match="journal of another job"):
        Journal(journal.directory, **JOB)


def assert_refused(journal: Journal, *fragments: str) -> None:
    """Expect an error that names the directory, which does not change."""
    directory = journal.directory
    before = sorted((path.name, path.lstat().st_mtime_ns) for path in directory.iterdir())
    for action in (
        lambda: Journal(directory, **JOB),
        lambda: Journal.seed(directory),
        lambda: Journal.remove(directory),
    ):
        with pytest.raises(BarkError) as caught:
            action()
        assert [fragment for fragment in (str(directory), *fragments) if fragment not in str(caught.value)] == []
        assert len(str(caught.value)) < 500
    assert sorted((path.name, path.lstat().st_mtime_ns) for path in directory.iterdir()) == before
