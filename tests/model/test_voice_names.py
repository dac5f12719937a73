"""Voices by name: names in the bundle are found, other names get suggestions, and no name is a path to elsewhere."""

from pathlib import Path

import pytest

from bark_onnx import Bark
from bark_onnx.model.voice import find_voice
from voices import refused

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
