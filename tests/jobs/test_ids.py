"""Ids of rows become names of files on any file system: what is refused, and which ids collide."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx import BarkError
from bark_onnx.jobs.ids import Collisions, check_id, folded

GOOD = ["a", "42", "row 7", "-rf", "a.b", "ä", "日本語", "x" * 250, "com10", "console", "a..b", "~", "%41"]
HOSTILE = {
    "": "is empty",
    "..": "begins with a dot",
    ".hidden": "begins with a dot",
    "../../etc/passwd": "has '/'",
    "/etc/passwd": "has '/'",
    "a\\b": "has '\\\\'",
    "C:x": "has ':'",
    "a\0b": "U+0000",
    "a\nb": "U+000A",
    "a\x1b[2Jb": "U+001B",
    "gpj.\u202eexe": "U+202E",
    "a\u200bb": "U+200B",
    "a\ud800b": "U+D800",
    "a ": "space",
    " a": "space",
    "NUL": "device",
    "com1": "device",
    "Aux.txt": "device",
    "LPT²": "device",
    "x" * 251: "251 bytes",
    "語" * 84: "252 bytes",
    "é" * 100: "300 bytes",  # in the normal form of macOS
    "*": "has '*'",
}


@pytest.mark.parametrize("name", GOOD)
def test_ids_that_are_names(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{check_id(name)}.flac").touch()


@pytest.mark.parametrize("name", HOSTILE, ids=[f"{name[:20]!a}" for name in HOSTILE])
def test_ids_that_are_refused(name: str) -> None:
    with pytest.raises(BarkError, match="the id ") as caught:
        check_id(name)
    assert HOSTILE[name] in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a"),
        ("Row", "rOW"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("Ω", "\u2126"),
        ("ΌΣΟΣ", "όσος"),
        ("\u1e9b\u0323", "\u1e9b\u0323".upper()),
    ],
)
def test_ids_that_are_one_file_collide(one: str, other: str) -> None:
    collisions, rows = Collisions(), [(3, "x"), (4, one), (5, "y"), (9, other)]
    for _, name in rows:
        collisions.add(name)
    with pytest.raises(BarkError, match="lines 4 and 9 have"):
        collisions.check(rows)


names = st.lists(st.text(st.characters(), max_size=12) | st.sampled_from(["a", "A", "é", "e\u0301", "nul", ".."]))


@settings(max_examples=150, deadline=None)
@given(names)
def test_accepted_ids_are_different_files_in_the_directory(names: list[str]) -> None:
    accepted: list[str] = []
    for name in names:
        try:
            accepted.append(check_id(name))
        except BarkError:
            continue
        path = Path("/out") / f"{name}.wav"
        assert path.parent == Path("/out")
        assert path.name.encode().isascii() or len(path.name.encode()) <= 255
    collisions = Collisions()
    for name in accepted:
        collisions.add(name)
    try:
        collisions.check(enumerate(accepted, 1))
    except BarkError:
        assert len({folded(name) for name in accepted}) < len(accepted)
    else:
        for form in ("NFC", "NFD"):
            assert len({unicodedata.normalize(form, name).lower() for name in accepted}) == len(accepted)
            assert len({unicodedata.normalize(form, name.upper()) for name in accepted}) == len(accepted)


def test_collisions_of_a_million_ids_take_little_memory() -> None:
    collisions = Collisions()
    for number in range(100_000):
        collisions.add(str(number))
    assert memoryview(collisions._hashes).nbytes == 800_000
    collisions.check(iter(()))  # nothing is read again, since no hash is twice
