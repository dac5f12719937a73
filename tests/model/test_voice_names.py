"""Voices by name: those of the bundle are found, others get near ones, and none leads out of the bundle."""

from pathlib import Path

import pytest

from bark_onnx import Bark
from bark_onnx.model.voice import find_voice
from preset import refused

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
