"""Voice presets: the files that exist are read, what is saved is read everywhere, and hostile files are VoiceErrors."""

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from bark_onnx import Bark, BarkWarning, GenerationOptions, Vocabulary, VoiceError, VoicePreset
from bark_onnx.voice import find_voice

Arrays = dict[str, NDArray[Any]]

KEYS = ("semantic_prompt", "coarse_prompt", "fine_prompt")
SHORT = GenerationOptions(max_seconds=0.5)


def arrays(dtype: DTypeLike = np.int64, seconds: float = 2) -> Arrays:
    """The three arrays of a voice, of lengths that fit together."""
    rng = np.random.default_rng(0)
    frames = int(75 * seconds)
    fine = rng.integers(1024, size=(8, frames)).astype(dtype)
    semantic = rng.integers(10_000, size=int(49.9 * seconds)).astype(dtype)
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine}


def write(path: Path, changes: dict[str, Any] | None = None) -> Path:
    """An .npz file of these arrays, some of them replaced or (None) left out."""
    np.savez(path, **{key: array for key, array in (arrays() | (changes or {})).items() if array is not None})
    return path


def write_members(path: Path, changes: dict[str, bytes]) -> Path:
    """The same with the bytes of some members of the archive replaced."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays().items():
            archive.writestr(f"{name}.npy", changes.get(name, npy(array)))
    return path


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(text: str) -> bytes:
    """The beginning of an .npy file that says anything at all of what follows."""
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode()


def saying_shape(shape: str) -> bytes:
    return npy_header(f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}\n")


@contextmanager
def refused(*fragments: str) -> Iterator[None]:
    """A VoiceError that names all of these on one readable line."""
    with pytest.raises(VoiceError) as caught:
        yield
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert len(message) < 1000
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def same(a: VoicePreset, b: VoicePreset) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for name in ("semantic", "coarse", "fine")
    )


# Reading and writing


def test_the_real_presets_are_read(voices: Path) -> None:
    paths = sorted(voices.rglob("*.npz"))
    assert len(paths) == 13
    for path in paths:
        voice = VoicePreset.load(path)
        voice.check(Vocabulary())
        with warnings.catch_warnings(action="error"):
            voice.warn_if_uneven(Vocabulary())
        with np.load(path) as file:
            for key, array in voice.to_prompt().items():
                assert np.array_equal(array, file[key])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, ">i2"])
def test_any_width_of_integers_is_read_as_int64(tmp_path: Path, dtype: DTypeLike) -> None:
    voice = VoicePreset.load(write(tmp_path / "voice.npz", arrays(dtype)))
    for key, array in voice.to_prompt().items():
        assert array.dtype == np.int64
        assert np.array_equal(array, arrays()[key])


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    voice = VoicePreset.from_prompt(arrays(np.uint16))
    voice.save(tmp_path / "voice.npz")
    assert same(VoicePreset.load(tmp_path / "voice.npz"), voice)


def test_a_saved_voice_is_sunos_format(tmp_path: Path) -> None:
    """bark/generation.py reads it with np.load and looks for these keys."""
    VoicePreset.from_prompt(arrays()).save(tmp_path / "voice.npz")
    with np.load(tmp_path / "voice.npz") as file:
        assert sorted(file) == sorted(KEYS)
        for key in KEYS:
            assert np.array_equal(file[key], arrays()[key])


def test_a_voice_cannot_be_changed_under_its_checks() -> None:
    voice = VoicePreset.from_prompt(arrays())
    with pytest.raises(ValueError, match="read-only"):
        voice.semantic[0] = -1


def test_a_voice_does_not_change_with_the_array_it_was_made_from() -> None:
    source = arrays()
    voice = VoicePreset.from_prompt(source)
    source["semantic_prompt"][:] = 7
    assert np.array_equal(voice.semantic, arrays()["semantic_prompt"])


def test_what_was_spoken_is_a_voice_for_the_next_call(bark: Bark, tmp_path: Path) -> None:
    first = bark.generate("hello", options=SHORT, seed=1)
    first.tokens.save(tmp_path / "voice.npz")
    again = bark.generate("hello", options=SHORT, seed=2)
    by_value = bark.generate("hello", first.tokens, SHORT, seed=2)
    by_path = bark.generate("hello", tmp_path / "voice.npz", SHORT, seed=2)
    assert np.array_equal(by_value.waveform, by_path.waveform)
    assert not np.array_equal(by_value.waveform, again.waveform)


def test_saving_fails_without_touching_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = VoicePreset.from_prompt(arrays())
    voice.save(tmp_path / "voice.npz")
    before = (tmp_path / "voice.npz").read_bytes()

    def fail(file: io.BufferedWriter, *_: object, **__: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises((OSError, VoiceError), match="No space left"):
        VoicePreset.from_prompt(arrays(seconds=1)).save(tmp_path / "voice.npz")
    assert (tmp_path / "voice.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["voice.npz"]


def test_a_voice_is_saved_as_npz_only(tmp_path: Path) -> None:
    with refused("voice.wav", ".npz"):
        VoicePreset.from_prompt(arrays()).save(tmp_path / "voice.wav")
    assert list(tmp_path.iterdir()) == []


# Contents that are no voice


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"coarse_prompt": None, "fine_prompt": None}, ["coarse_prompt, fine_prompt", "missing"]),
        ({"semantic_prompt": np.zeros(9)}, ["semantic", "float64"]),
        ({"semantic_prompt": np.zeros(9, bool)}, ["semantic", "bool"]),
        ({"semantic_prompt": np.zeros(9, "m8[s]")}, ["semantic", "timedelta64"]),
        ({"fine_prompt": np.array(["a"])}, ["fine", "<U1"]),
        ({"fine_prompt": np.zeros(9, [("a", "i4")])}, ["fine"]),
        ({"semantic_prompt": np.zeros((1, 9), int)}, ["semantic", "(1, 9)", "[S]"]),
        ({"semantic_prompt": np.zeros(0, int)}, ["semantic", "(0,)"]),
        ({"semantic_prompt": np.array(5)}, ["semantic", "()"]),
        ({"coarse_prompt": np.zeros(9, int)}, ["coarse", "(9,)", "T]"]),
        ({"fine_prompt": np.zeros((8, 0), int)}, ["fine", "(8, 0)"]),
        ({"semantic_prompt": np.array([5, -1])}, ["semantic", "negative"]),
        ({"semantic_prompt": np.array([5, 2**63 + 5], np.uint64)}, ["semantic"]),
        ({"coarse_prompt": np.zeros(9), "fine_prompt": np.zeros(9, int)}, ["coarse", "float64", "fine", "(9,)"]),
    ],
)
def test_arrays_that_are_no_voice_are_named(tmp_path: Path, changes: Arrays, fragments: list[str]) -> None:
    with refused("voice.npz", *fragments):
        VoicePreset.load(write(tmp_path / "voice.npz", changes))


@pytest.mark.parametrize("value", [None, 5, "abc", [[1], [1, 2]], [2**70], [1.5], {}, [None]], ids=repr)
def test_values_that_are_no_array_are_refused(value: Any) -> None:
    with refused("semantic"):
        VoicePreset.from_prompt(arrays() | {"semantic_prompt": value})


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"semantic_prompt": np.array([10_000])}, ["semantic", "10000"]),
        ({"coarse_prompt": np.full((2, 9), 1024)}, ["coarse", "1024"]),
        ({"fine_prompt": np.full((8, 9), 5000)}, ["fine", "5000"]),
        ({"coarse_prompt": np.zeros((3, 9), int)}, ["3 coarse codebooks instead of 2"]),
        ({"fine_prompt": np.zeros((4, 9), int)}, ["4 fine codebooks instead of 8"]),
        ({"semantic_prompt": np.array([2**62]), "fine_prompt": np.full((8, 9), 5000)}, ["semantic", "fine"]),
    ],
)
def test_tokens_of_another_model_are_refused_before_it_runs(
    bark: Bark, tmp_path: Path, changes: Arrays, fragments: list[str]
) -> None:
    with refused("does not fit", *fragments):
        bark.generate("hello", write(tmp_path / "voice.npz", changes), SHORT)


def test_lengths_that_do_not_fit_together_are_a_warning(bark: Bark) -> None:
    uneven = VoicePreset.from_prompt(arrays() | {"semantic_prompt": np.zeros(50, int)})
    with pytest.warns(BarkWarning, match=r"3\.00 coarse frames .* instead of 1\.50"):
        speech = bark.generate("hello", uneven, SHORT, seed=0)
    assert len(speech.waveform)


# Files that are no voice


class Bomb:
    """Unpickling one makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("place", ["object array", "member", "whole file"])
def test_a_pickle_is_not_executed(tmp_path: Path, place: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / "voice.npz"
    if place == "object array":
        write(path, {"semantic_prompt": np.array([Bomb(mark)], object)})
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
        saying_shape("(10000000000000,)"),
        saying_shape("(1" + "0" * 30 + ",)"),
        saying_shape("(-1,)"),
        saying_shape("'x'"),
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
def test_an_array_that_lies_about_itself_is_refused(tmp_path: Path, member: bytes) -> None:
    path = write_members(tmp_path / "voice.npz", {"semantic_prompt": member})
    with refused(str(path)):
        VoicePreset.load(path)


def test_a_zip_bomb_is_refused_unread(tmp_path: Path) -> None:
    path = write_members(tmp_path / "voice.npz", {"semantic_prompt": saying_shape("(9000000,)") + bytes(72_000_000)})
    assert path.stat().st_size < 200_000
    with refused(str(path), "MiB"):
        VoicePreset.load(path)


@pytest.mark.parametrize("kind", ["missing", "directory", "empty", "text", "npy", "truncated"])
def test_a_path_that_is_no_voice_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "voice.npz"
    content = {"empty": b"", "text": b"RIFF", "npy": npy(np.arange(9)), "truncated": write(path).read_bytes()[:-30]}
    path.unlink()
    if kind in content:
        path.write_bytes(content[kind])
    elif kind == "directory":
        path.mkdir()
    with refused("voice.npz"):
        VoicePreset.load(path)


def test_a_path_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(VoiceError):
        VoicePreset.load("\0voice.npz")


def unless_refused(path: Path) -> VoicePreset | None:
    """What is read, or None if it is refused on one line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of zipfile, for duplicate names
            return VoicePreset.load(path)
    except VoiceError as error:
        message = str(error)
    assert message.isprintable(), repr(message)
    return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), zipped=st.booleans())
def test_random_bytes_are_no_voice(tmp_path: Path, content: bytes, zipped: bool) -> None:
    if zipped:
        write_members(tmp_path / "voice.npz", {"semantic_prompt": content})
    else:
        (tmp_path / "voice.npz").write_bytes(content)
    assert unless_refused(tmp_path / "voice.npz") is None


CHANGES = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 8))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    compressed=st.booleans(),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 8)), min_size=1
    ),
)
def test_any_change_to_a_file_leaves_a_voice_or_an_error(
    tmp_path: Path, compressed: bool, changes: list[tuple[float, bytes, int]]
) -> None:
    """Each change writes some bytes over others, of another length too."""
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


# Names


NAMES = {name: Path(f"/bundle/voices/{name}.npz") for name in ("announcer", "v2/en_speaker_6", "v2/de_speaker_3")}


def test_a_name_of_the_bundles_is_found() -> None:
    assert find_voice("v2/en_speaker_6", NAMES) == NAMES["v2/en_speaker_6"]


def test_a_name_that_looks_like_a_path_is_still_a_name() -> None:
    assert find_voice("my.npz", NAMES | {"my.npz": Path("/bundle/voices/my.npz.npz")}).parent == Path("/bundle/voices")


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("v2/en_speaker_66", ["'v2/en_speaker_66'", "did you mean", "v2/en_speaker_6"]),
        ("en_speaker_6", ["did you mean", "v2/en_speaker_6"]),
        ("Announcer", ["did you mean", "announcer"]),
        ("xyz", ["'xyz'", "the bundle has 3", "announcer"]),
        ("", ["''", "the bundle has 3"]),
        ("a\nb", ["the bundle has 3"]),
    ],
)
def test_a_name_that_is_none_gets_near_ones(name: str, fragments: list[str]) -> None:
    with refused(*fragments):
        find_voice(name, NAMES)


def test_a_bundle_without_voices_says_so() -> None:
    with refused("'announcer'", "no voices", ".npz"):
        find_voice("announcer", {})


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "v2/../../x", "v2/../announcer", "..", "/"])
def test_a_name_does_not_lead_out_of_the_bundle(bark: Bark, name: str) -> None:
    with refused(repr(name)):
        bark.voice(name)
