"""The voices of a bundle, in two formats, from the user or from a checkpoint; and voices that cannot be used."""

import errno
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_onnx import BarkError, Vocabulary, VoiceError, VoicePreset
from bark_onnx.errors import BarkWarning
from bark_onnx_export.bundle.voice_files import read_voices
from bark_onnx_export.bundle.voices import write_voices
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from checkpoint_files import LFS_POINTER, ensure
from voices import PUBLISHED, make_voice, write_triple


def test_a_voice_is_named_by_its_path(tmp_path: Path) -> None:
    make_voice(PUBLISHED, 100, 1).save(ensure(tmp_path / "a" / "b") / "c.npz")
    write_triple(tmp_path, "d.e", make_voice(PUBLISHED, 100, 2))
    write_triple(tmp_path, "of_semantic_prompts", make_voice(PUBLISHED, 100, 3))
    (tmp_path / "README.md").write_text("not a voice")
    found = read_voices(tmp_path, Vocabulary())
    assert (list(found.presets), found.problems()) == (["a/b/c", "d.e", "of_semantic_prompts"], [])
    assert np.array_equal(found.presets["d.e"].semantic, make_voice(PUBLISHED, 100, 2).semantic)


def test_suffixes_may_be_in_upper_case(tmp_path: Path) -> None:
    make_voice(PUBLISHED, 100, 1).save(tmp_path / "a.npz")
    (tmp_path / "a.npz").rename(tmp_path / "a.NPZ")
    write_triple(tmp_path, "b", make_voice(PUBLISHED, 100, 2))
    (tmp_path / "b_fine_prompt.npy").rename(tmp_path / "b_fine_prompt.NPY")
    assert list(read_voices(tmp_path, Vocabulary()).presets) == ["a", "b"]


def test_suno_s_presets_are_written(voices: Path, tmp_path: Path) -> None:
    assert len(write_voices(voices, tmp_path / "voices", Vocabulary())) == 13
    for path in voices.rglob("*.npz"):
        copy = VoicePreset.load(tmp_path / "voices" / path.relative_to(voices))
        assert np.array_equal(copy.fine, VoicePreset.load(path).fine)


FAULTS = [
    # What is wrong with the voice `good`, and fragments of the message.
    ("semantic alone", ["good lacks its coarse and its fine part (NAME_coarse_prompt.npy)"]),
    ("no semantic", ["good lacks its semantic part (NAME_semantic_prompt.npy)"]),
    ("fine alone", ["good lacks its semantic and its coarse part"]),
    ("no fine", ["good lacks its fine part (NAME_fine_prompt.npy)"]),
    ("pickle", ["good cannot be used: good_coarse_prompt.npy cannot be read"]),
    ("damaged", ["good cannot be used: good_fine_prompt.npy cannot be read"]),
    ("text", ["good_semantic_prompt.npy cannot be read"]),
    ("npz in npy", ["good cannot be used", "semantic"]),
    ("huge", ["good cannot be used", "cannot be read"]),
    ("another model", ["good cannot be used: the voice does not fit this model: semantic token 10000 of 10000"]),
    ("float", ["good cannot be used", "float64"]),
    ("twice", ["good_*_prompt.npy is there as .npz already"]),
    ("odd name", ["my_voice.npy is not named as a part of a voice (NAME_semantic_prompt.npy, ...)"]),
    ("upper-case name", ["good_Fine_prompt.npy is not named as a part of a voice"]),
    ("LFS", ["good_fine_prompt.npy is a Git LFS pointer and not the file itself: run `git lfs pull`"]),
    ("all LFS", ["3 are left out (good_coarse_prompt.npy; good_fine_prompt.npy; good_semantic_prompt.npy)", "LFS"]),
    (
        "link out",
        ["good_fine_prompt.npy leads out of the checkpoint, to ", "elsewhere/good_fine_prompt.npy", "put the"],
    ),
    ("absolute link out", ["good_fine_prompt.npy leads out of the checkpoint, to "]),
    ("broken link", ["good_fine_prompt.npy is a link that leads nowhere (gone.npy)"]),
    ("loop", ["good_fine_prompt.npy is a link that leads nowhere (good_fine_prompt.npy)"]),
    ("directory", ["good lacks its fine part (NAME_fine_prompt.npy)"]),
    ("pipe", ["good_fine_prompt.npy is not a file"]),
    ("linked directory", ["linked is a link to a directory, and was not followed"]),
    ("linked directory that is gone", ["linked is a link that leads nowhere (gone)"]),
]


def damage_voice(directory: Path, how: str) -> None:
    """Write a triple called `good`, and damage it or put something else beside it."""
    write_triple(directory, "good", make_voice(PUBLISHED, 100))
    semantic, coarse, fine = (directory / f"good_{part}_prompt.npy" for part in ("semantic", "coarse", "fine"))
    match how:
        case "semantic alone" | "fine alone" | "no semantic" | "no fine":
            for part in (semantic, coarse, fine):
                named = f"_{how.split()[0 if 'alone' in how else 1]}_" in part.name
                if named is not ("alone" in how):
                    part.unlink()
        case "pickle":
            np.save(coarse, np.array([{}], object))
        case "damaged":
            fine.write_bytes(b"\x93NUMPY\x01\x00")
        case "text":
            semantic.write_text("hello")
        case "npz in npy":
            make_voice(PUBLISHED, 100).save(directory.parent / "voice.npz")
            (directory.parent / "voice.npz").rename(semantic)
        case "huge":
            header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
            semantic.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header)
        case "another model":
            np.save(semantic, np.array([10_000]))
        case "float":
            np.save(semantic, np.zeros(9))
        case "twice":
            make_voice(PUBLISHED, 100, 3).save(directory / "good.npz")
        case "odd name":
            np.save(directory / "my_voice.npy", np.zeros(9, np.int64))
        case "upper-case name":
            shutil.copy(fine, directory / "good_Fine_prompt.npy")
        case "LFS" | "all LFS":
            for part in (fine,) if how == "LFS" else (semantic, coarse, fine):
                part.write_text(LFS_POINTER)
        case "link out" | "absolute link out":
            target = ensure(directory.parents[1] / "elsewhere") / fine.name
            fine.rename(target)
            fine.symlink_to(target if how.startswith("absolute") else f"../../elsewhere/{fine.name}")
        case "broken link" | "loop":
            fine.unlink()
            fine.symlink_to("gone.npy" if how == "broken link" else fine.name)
        case "directory":
            fine.unlink()
            fine.mkdir()
        case "pipe":
            fine.unlink()
            os.mkfifo(fine)
        case "linked directory":
            (directory / "linked").symlink_to(ensure(directory.parent / "elsewhere"))
        case "linked directory that is gone":
            (directory / "linked").symlink_to("gone")


@pytest.mark.parametrize(("how", "fragments"), FAULTS)
def test_a_voice_of_the_user_that_cannot_be_used_is_an_error(tmp_path: Path, how: str, fragments: list[str]) -> None:
    directory = ensure(tmp_path / "given" / "presets")
    damage_voice(directory, how)
    with pytest.raises(VoiceError) as caught:
        write_voices(directory, tmp_path / "voices", Vocabulary())
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(f"{directory}: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert not (tmp_path / "voices").exists()


@pytest.mark.parametrize(("how", "fragments"), FAULTS)
def test_a_voice_of_a_checkpoint_that_cannot_be_used_is_left_out_with_a_warning(
    tmp_path: Path, how: str, fragments: list[str]
) -> None:
    directory = ensure(tmp_path / "checkpoint" / "speaker_embeddings")
    damage_voice(directory, how)
    write_triple(directory, "v2/other", make_voice(PUBLISHED, 100, 1))
    with pytest.warns(BarkWarning) as caught:
        voices = write_voices(directory, tmp_path / "voices", Vocabulary(), checkpoint=directory.parent)
    (message,) = (str(warning.message) for warning in caught)
    assert message.startswith("speaker_embeddings of the checkpoint: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    good_is_kept = {"twice", "odd name", "upper-case name", "linked directory", "linked directory that is gone"}
    assert list(voices) == ["good", "v2/other"] if how in good_is_kept else ["v2/other"]
    assert (
        VoicePreset.load(tmp_path / "voices" / "v2" / "other.npz").to_prompt().keys()
        == make_voice(PUBLISHED, 100).to_prompt().keys()
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Anna", "anna"], "anna.npz has anna in its name, and another voice has Anna"),
        (["V2/anna", "v2/bert"], "v2/bert.npz has v2 in its name, and another voice has V2"),
        (["v2/STRASSE", "v2/straße"], "v2/straße.npz has v2/straße in its name, and another voice has v2/STRASSE"),
    ],
)
def test_names_that_differ_only_in_case_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "case").touch()
    if (tmp_path / "CASE").exists():
        pytest.skip("this disk ignores case")
    directory = tmp_path / "checkpoint" / "presets"
    for name in names:
        make_voice(PUBLISHED, 100).save(ensure((directory / name).parent) / f"{Path(name).name}.npz")
    with pytest.raises(VoiceError) as caught:
        write_voices(directory, tmp_path / "voices", Vocabulary())
    assert message in str(caught.value)
    assert "rename one" in str(caught.value)
    assert not (tmp_path / "voices").exists()
    with pytest.warns(BarkWarning, match="rename one"):
        kept = write_voices(directory, tmp_path / "voices", Vocabulary(), checkpoint=directory.parent)
    assert len(kept) == 1


def test_a_voice_and_a_directory_may_differ_only_in_case(tmp_path: Path) -> None:
    """In a bundle they are anna.npz and Anna."""
    make_voice(PUBLISHED, 100).save(tmp_path / "anna.npz")
    make_voice(PUBLISHED, 100).save(ensure(tmp_path / "Anna") / "bert.npz")
    found = read_voices(tmp_path, Vocabulary())
    assert (list(found.presets), found.problems()) == (["Anna/bert", "anna"], [])


def test_a_triple_and_an_npz_file_may_not_differ_only_in_case(tmp_path: Path) -> None:
    make_voice(PUBLISHED, 100).save(tmp_path / "Anna.npz")
    write_triple(tmp_path, "anna", make_voice(PUBLISHED, 100, 1))
    found = read_voices(tmp_path, Vocabulary())
    assert list(found.presets) == ["Anna"]
    assert found.problems() == [
        "anna has anna in its name, and another voice has Anna: some disks mix these up, so rename one"
    ]


def test_a_directory_without_voices_is_an_error_or_a_warning(tmp_path: Path) -> None:
    directory = ensure(tmp_path / "speaker_embeddings")
    with pytest.raises(
        VoiceError, match=r"speaker_embeddings: it has no voices: neither \.npz files nor \.npy triples"
    ):
        write_voices(directory, tmp_path / "voices", Vocabulary())
    with pytest.warns(BarkWarning, match="speaker_embeddings of the checkpoint: it has no voices"):
        assert write_voices(directory, tmp_path / "voices", Vocabulary(), checkpoint=tmp_path) == {}


def test_a_directory_that_cannot_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_triple(tmp_path, "good", make_voice(PUBLISHED, 100))
    closed = ensure(tmp_path / "closed")

    def scandir(path: str, enter: Callable[[str], Any] = os.scandir) -> Any:
        if Path(path) == closed:  # permissions do not stop root, who may run the tests
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return enter(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        found = read_voices(tmp_path, Vocabulary())
    assert (list(found.presets), found.problems()) == (["good"], ["closed cannot be read (Permission denied)"])


def test_many_voices_with_the_same_fault_give_one_warning(tmp_path: Path) -> None:
    for n in range(25):
        (tmp_path / f"{n:02}_fine_prompt.npy").write_text(LFS_POINTER)
    (problem,) = read_voices(tmp_path, Vocabulary()).problems()
    assert problem.startswith("25 are left out (00_fine_prompt.npy; 01_fine_prompt.npy; ")
    assert " and 15 more), each is a Git LFS pointer" in problem


def test_an_export_goes_on_without_a_checkpoint_s_voices(checkpoint: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(checkpoint, tmp_path / "bark"))
    ensure(source / "speaker_embeddings")
    report: list[str] = []

    def stop_at_the_first_graph(line: str) -> None:
        report.append(line)
        if line.endswith("exporting"):
            raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as caught, pytest.raises(KeyboardInterrupt):
        export_bundle(open_checkpoint(str(source)), tmp_path / "bundle", ExportOptions(), stop_at_the_first_graph)
    assert report == ["voices: 0", "semantic: exporting"]
    assert ["has no voices" in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize("name", ["a:b", "a\\b"])
def test_a_name_that_a_bundle_cannot_have_is_an_error_before_any_export(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    make_voice(PUBLISHED, 100).save(ensure(tmp_path / "presets") / f"{name}.npz")
    report: list[str] = []
    options = ExportOptions(voices=tmp_path / "presets", verify=False)
    with pytest.raises(BarkError):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", options, report.append)
    assert report == []
