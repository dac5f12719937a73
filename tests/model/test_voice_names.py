"""Voices by name: names in the bundle are found, other names get suggestions, and no name is a path to elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, VoicePreset
from bark_onnx.model.voice import find_voice
from tiny import SPACE
from voices import make_voice, refused, write_triple

NAMES = {name: Path(f"/bundle/voices/{name}.npz") for name in ("announcer", "v2/en_speaker_6", "v2/de_speaker_3")}


def test_a_name_in_the_bundle_is_found() -> None:
    assert find_voice("v2/en_speaker_6", NAMES) == NAMES["v2/en_speaker_6"]


def test_a_name_in_the_bundle_may_look_like_a_path() -> None:
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
def test_an_unknown_name_gets_suggestions(name: str, fragments: list[str]) -> None:
    with refused(*fragments):
        find_voice(name, NAMES)


def test_the_error_says_if_the_bundle_has_no_voices() -> None:
    with refused("'announcer'", "no voices", ".npz"):
        find_voice("announcer", {})


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "v2/../../x", "v2/../announcer", "..", "/"])
def test_a_name_is_not_a_path_out_of_the_bundle(bark: Bark, name: str) -> None:
    with refused(repr(name)):
        bark.preset(name)


# Paths


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("mine.npz", "mine.npz"),
        ("mine.npz", "mine"),
        ("MINE.NPZ", "MINE.NPZ"),
        ("my.voice.npz", "my.voice"),
        ("mine.npz", "~/mine.npz"),
        ("mine.npz", "~/mine"),
    ],
)
def test_ways_to_name_a_file(file: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voice(SPACE).save(tmp_path / file)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert_same(VoicePreset.load(find_voice(path, NAMES)))
    assert_same(VoicePreset.load(path))


def test_a_file_is_read_whatever_it_is_called_but_is_no_name(tmp_path: Path) -> None:
    """A server may keep uploads without suffixes. A name, which may come from elsewhere, opens no other files."""
    make_voice(SPACE).save(tmp_path / "mine.npz")
    (tmp_path / "mine.npz").rename(tmp_path / "mine")
    assert_same(VoicePreset.load(tmp_path / "mine"))
    with refused("no voice"):
        find_voice(tmp_path / "mine", NAMES)
    make_voice(SPACE, seed=2).save(tmp_path / "mine.npz")
    assert find_voice(tmp_path / "mine", NAMES) == tmp_path / "mine.npz"


@pytest.mark.parametrize("stem", ["en_speaker_6", "v2/en.speaker"])
def test_three_npy_files_are_named_by_their_stem(stem: str, tmp_path: Path, bark: Bark) -> None:
    write_triple(tmp_path, stem, make_voice(SPACE))
    preset = bark.preset(tmp_path / stem)
    assert preset is not None
    assert_same(preset)
    Path(f"{tmp_path / stem}_coarse_prompt.npy").unlink()
    with refused("coarse_prompt.npy", "No such file"):
        bark.preset(tmp_path / stem)


def test_one_of_three_npy_files_is_not_a_voice(tmp_path: Path, bark: Bark) -> None:
    write_triple(tmp_path, "mine", make_voice(SPACE))
    with refused("mine_semantic_prompt.npy", "what their names begin with"):
        bark.preset(tmp_path / "mine_semantic_prompt.npy")


def test_a_name_in_the_bundle_goes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voice(SPACE).save(tmp_path / "announcer.npz")
    monkeypatch.chdir(tmp_path)
    assert find_voice("announcer", NAMES) == NAMES["announcer"]


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "~no_such_user/mine", "~"])
def test_a_name_that_can_be_no_path_is_one_clear_error(name: str, bark: Bark) -> None:
    with refused("no voice"):
        bark.preset(name)


def assert_same(voice: VoicePreset) -> None:
    for name, array in make_voice(SPACE).to_prompt().items():
        np.testing.assert_array_equal(voice.to_prompt()[name], array)
