"""Hostile voice files: whatever they contain, the result is a voice or a VoiceError, and nothing is executed."""

import io
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx import VoiceError, VoicePreset
from voices import arrays, refused, write_npz


def write_members(path: Path, changes: dict[str, bytes]) -> Path:
    """Write an .npz file of a voice in which some members of the archive have other bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays().items():
            archive.writestr(f"{name}.npy", changes.get(name, npy(array)))
    return path


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(text: str) -> bytes:
    """The beginning of an .npy file with any text as its header."""
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode()


def with_shape(shape: str) -> bytes:
    return npy_header(f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}\n")


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("place", ["object array", "member", "whole file"])
def test_a_pickle_is_not_executed(tmp_path: Path, place: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / "voice.npz"
    if place == "object array":
        write_npz(path, {"semantic_prompt": np.array([Bomb(mark)], object)})
    elif place == "member":
        write_members(path, {"semantic_prompt": pickle.dumps(Bomb(mark))})
    else:
        path.write_bytes(pickle.dumps(Bomb(mark)))
    with refused(str(path)):
        VoicePreset.load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "member",
    [
        with_shape("(10000000000000,)"),
        with_shape("(1" + "0" * 30 + ",)"),
        with_shape("(-1,)"),
        with_shape("'x'"),
        npy_header("__import__('os').abort()\n"),
        npy_header("{'descr': '|V0', 'fortran_order': False, 'shape': (9,)}\n"),
        npy_header("(" * 500 + "\n"),
        npy_header(f"{{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}}{' ' * 20_000}\n"),
        npy(np.arange(9))[:-1],
        b"hello",
        b"",
    ],
    ids=["huge", "beyond 64 bits", "negative", "text", "code", "void", "deep", "long", "cut", "none", "empty"],
)
def test_an_array_with_a_wrong_header_is_refused(tmp_path: Path, member: bytes) -> None:
    path = write_members(tmp_path / "voice.npz", {"semantic_prompt": member})
    with refused(str(path)):
        VoicePreset.load(path)


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_members(tmp_path / "voice.npz", {"semantic_prompt": with_shape("(9000000,)") + bytes(72_000_000)})
    assert path.stat().st_size < 200_000
    with refused(str(path), "MiB"):
        VoicePreset.load(path)


@pytest.mark.parametrize("kind", ["missing", "directory", "empty", "text", "npy", "truncated"])
def test_an_error_names_the_file_that_is_not_a_voice(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "voice.npz"
    content = {"empty": b"", "text": b"RIFF", "npy": npy(np.arange(9)), "truncated": write_npz(path).read_bytes()[:-30]}
    path.unlink()
    if kind in content:
        path.write_bytes(content[kind])
    elif kind == "directory":
        path.mkdir()
    with refused("voice.npz"):
        VoicePreset.load(path)


def test_an_invalid_path_is_refused() -> None:
    with pytest.raises(VoiceError):
        VoicePreset.load("\0voice.npz")


def unless_refused(path: Path) -> VoicePreset | None:
    """Read a file. Returns None if it is refused with one printable line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # zipfile warns of duplicate names
            return VoicePreset.load(path)
    except VoiceError as error:
        message = str(error)
    assert message.isprintable(), repr(message)
    return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), zipped=st.booleans())
def test_random_bytes_are_not_a_voice(tmp_path: Path, content: bytes, zipped: bool) -> None:
    if zipped:
        write_members(tmp_path / "voice.npz", {"semantic_prompt": content})
    else:
        (tmp_path / "voice.npz").write_bytes(content)
    assert unless_refused(tmp_path / "voice.npz") is None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    compressed=st.booleans(),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 8)), min_size=1
    ),
)
def test_any_damaged_file_is_a_voice_or_an_error(
    tmp_path: Path, compressed: bool, changes: list[tuple[float, bytes, int]]
) -> None:
    """Each change replaces some bytes by others, perhaps by more or fewer of them."""
    path = tmp_path / "voice.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays(np.uint16, seconds=0.2))
    content = bytearray(path.read_bytes())
    for place, new, over in changes:
        start = int(place * len(content))
        content[start : start + over] = new
    path.write_bytes(content)
    voice = unless_refused(path)
    if voice is not None:
        assert all(array.dtype == np.int64 and array.min() >= 0 for array in voice.to_prompt().values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_in_the_place_of_a_voice_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "voice.npz")
    with pytest.raises(VoiceError, match="not a plain file"):
        VoicePreset.load(tmp_path / "voice.npz")
