"""Voice presets: existing files can be read, saved files work everywhere, and other contents are VoiceErrors."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from bark_onnx import Bark, BarkWarning, GenerationOptions, Vocabulary, VoiceError, VoicePreset
from voices import Arrays, arrays, refused, write_npz

KEYS = ("semantic_prompt", "coarse_prompt", "fine_prompt")
SHORT = GenerationOptions(max_seconds=0.5)


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
    voice = VoicePreset.load(write_npz(tmp_path / "voice.npz", arrays(dtype)))
    for key, array in voice.to_prompt().items():
        assert array.dtype == np.int64
        assert np.array_equal(array, arrays()[key])


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    voice = VoicePreset.from_prompt(arrays(np.uint16))
    voice.save(tmp_path / "voice.npz")
    assert same(VoicePreset.load(tmp_path / "voice.npz"), voice)


def test_a_saved_voice_is_sunos_format(tmp_path: Path) -> None:
    """bark/generation.py reads the file with np.load and expects these keys."""
    VoicePreset.from_prompt(arrays()).save(tmp_path / "voice.npz")
    with np.load(tmp_path / "voice.npz") as file:
        assert sorted(file) == sorted(KEYS)
        for key in KEYS:
            assert np.array_equal(file[key], arrays()[key])


def test_the_arrays_of_a_voice_cannot_be_changed() -> None:
    voice = VoicePreset.from_prompt(arrays())
    with pytest.raises(ValueError, match="read-only"):
        voice.semantic[0] = -1


def test_a_voice_does_not_change_with_the_array_it_was_made_from() -> None:
    source = arrays()
    voice = VoicePreset.from_prompt(source)
    source["semantic_prompt"][:] = 7
    assert np.array_equal(voice.semantic, arrays()["semantic_prompt"])


def test_the_tokens_of_a_speech_can_be_the_voice_of_the_next(bark: Bark, tmp_path: Path) -> None:
    first = bark.generate("hello", options=SHORT, seed=1)
    first.tokens.save(tmp_path / "voice.npz")
    again = bark.generate("hello", options=SHORT, seed=2)
    by_value = bark.generate("hello", voice=first.tokens, options=SHORT, seed=2)
    by_path = bark.generate("hello", voice=tmp_path / "voice.npz", options=SHORT, seed=2)
    assert np.array_equal(by_value.waveform, by_path.waveform)
    assert not np.array_equal(by_value.waveform, again.waveform)


def test_a_file_is_not_changed_if_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# Voices that callers give


def test_a_voice_may_be_a_dictionary_of_arrays(bark: Bark, tmp_path: Path) -> None:
    """suno-ai/bark's `history_prompt` is such a dictionary, or what np.load returns for the file."""
    expected = bark.generate("hello", voice=VoicePreset.from_prompt(arrays()), options=SHORT, seed=2).waveform
    path = write_npz(tmp_path / "voice.npz")
    with np.load(path) as file:
        given: list[Any] = [arrays(), arrays(np.uint16) | {"more": 1}, file, path, str(path)]
        for voice in given:
            assert np.array_equal(bark.generate("hello", voice=voice, options=SHORT, seed=2).waveform, expected)


@pytest.mark.parametrize("voice", [5, 2.5, ["en_speaker_6"], np.zeros(9, int), b"voice.npz", object], ids=repr)
def test_other_objects_are_not_voices(bark: Bark, voice: Any) -> None:
    with refused("a voice is a name, a path, a VoicePreset or a dictionary", type(voice).__name__):
        bark.generate("hello", voice=voice, options=SHORT)


@pytest.mark.parametrize("value", [5, None, b"voice.npz", ["voice.npz"]], ids=repr)
def test_wrong_types_are_voice_errors(value: Any) -> None:
    with refused("the path of a voice must be a string or a Path, not"):
        VoicePreset.load(value)
    with refused("the path of a voice must be a string or a Path, not"):
        VoicePreset.from_prompt(arrays()).save(value)
    with refused("a voice's prompt is a dictionary of arrays, not"):
        VoicePreset.from_prompt(value)


def test_a_dictionary_without_the_arrays_is_refused(bark: Bark) -> None:
    with refused("coarse_prompt, fine_prompt missing"):
        bark.generate("hello", voice={"semantic_prompt": np.zeros(9, int)}, options=SHORT)


# Contents that are not a voice


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
def test_wrong_arrays_are_named_in_the_error(tmp_path: Path, changes: Arrays, fragments: list[str]) -> None:
    with refused("voice.npz", *fragments):
        VoicePreset.load(write_npz(tmp_path / "voice.npz", changes))


@pytest.mark.parametrize("value", [None, 5, "abc", [[1], [1, 2]], [2**70], [1.5], {}, [None]], ids=repr)
def test_values_that_are_not_arrays_are_refused(value: Any) -> None:
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
def test_tokens_of_another_model_are_refused(bark: Bark, tmp_path: Path, changes: Arrays, fragments: list[str]) -> None:
    with refused("does not fit", *fragments):
        bark.generate("hello", voice=write_npz(tmp_path / "voice.npz", changes), options=SHORT)


def test_lengths_that_do_not_fit_together_give_a_warning(bark: Bark) -> None:
    uneven = VoicePreset.from_prompt(arrays() | {"semantic_prompt": np.zeros(50, int)})
    with pytest.warns(BarkWarning, match=r"3\.00 coarse frames .* instead of 1\.50"):
        speech = bark.generate("hello", voice=uneven, options=SHORT, seed=0)
    assert len(speech.waveform)
