"""Links in a checkpoint are followed inside it and into its blobs in the hub's cache. All others are errors."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BarkModel

from bark_onnx.errors import BarkWarning
from bark_onnx_bench.checkpoints import save_huggingface, write_tokenizer
from bark_onnx_export.bundle.voice_files import read_voices
from bark_onnx_export.checkpoint import open_checkpoint
from checkpoint_files import LFS_POINTER, ensure, error_of
from checkpoint_files import small_model as small_model
from checkpoint_files import suno as suno
from tiny import SPACE
from voices import make_voice, write_triple

COMMIT = "70a8a7d34168586dc5d028fa9666aceade177992"


@pytest.fixture
def snapshot(small_model: BarkModel, tmp_path: Path) -> Path:
    """A download of huggingface_hub: every file is a relative link into `blobs`, which is beside `snapshots`."""
    cache = tmp_path / "hub" / "models--suno--bark-small"
    directory = save_huggingface(small_model, cache / "snapshots" / COMMIT)
    write_tokenizer(directory)
    write_triple(directory / "speaker_embeddings", "v2/en_speaker_6", make_voice(SPACE, 100))
    for number, path in enumerate(sorted(path for path in directory.rglob("*") if path.is_file())):
        blob = ensure(cache / "blobs") / f"{number:040x}"
        path.rename(blob)
        path.symlink_to(Path(*[".."] * (len(path.relative_to(cache).parts) - 1)) / "blobs" / blob.name)
    return directory


def assert_readable(directory: Path) -> None:
    """Fail unless the weights, the tokenizer and the voices can be read."""
    checkpoint = open_checkpoint(str(directory))
    checkpoint.load("codec")
    assert checkpoint.tokenizer == directory / "tokenizer.json"
    assert checkpoint.voices is not None
    found = read_voices(checkpoint.voices, checkpoint.vocabulary, within=directory)
    assert (list(found.presets), found.problems()) == (["v2/en_speaker_6"], [])


def test_links_into_the_blobs_of_the_same_repository_are_followed(snapshot: Path) -> None:
    assert_readable(snapshot)
    given = read_voices(snapshot / "speaker_embeddings", open_checkpoint(str(snapshot)).vocabulary)  # by --voices
    assert (list(given.presets), given.problems()) == (["v2/en_speaker_6"], [])


def test_the_path_to_a_cache_may_have_a_link(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to("hub", target_is_directory=True)
    assert_readable(tmp_path / "cache" / snapshot.relative_to(tmp_path / "hub"))


def test_blobs_may_be_links_into_the_shared_store_of_the_cache(snapshot: Path, tmp_path: Path) -> None:
    """huggingface_hub 2 stores a file of several repositories once, in a marked directory `blobs` of the cache."""
    store = ensure(tmp_path / "hub" / "blobs" / "ab")
    for blob in sorted(snapshot.parents[1].joinpath("blobs").iterdir()):
        shared = store / f"ab{blob.name:0>62}"
        blob.rename(shared)
        blob.symlink_to(f"../../blobs/ab/{shared.name}")
    assert "leads out of the checkpoint" in error_of(
        lambda: open_checkpoint(str(snapshot))
    )  # without the mark it may be any directory
    (tmp_path / "hub" / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    assert_readable(snapshot)


def test_a_link_in_place_of_blobs_is_not_followed(snapshot: Path, tmp_path: Path) -> None:
    blobs = snapshot.parents[1] / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    message = error_of(lambda: open_checkpoint(str(snapshot)))
    assert f"config.json of {COMMIT} leads out of the checkpoint, to {tmp_path / 'elsewhere'}" in message


def test_links_into_the_blobs_of_another_repository_are_not_followed(snapshot: Path, tmp_path: Path) -> None:
    other = ensure(tmp_path / "hub" / "models--you--private" / "blobs")
    (snapshot / "model.safetensors").resolve().rename(other / "weights")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../../models--you--private/blobs/weights")
    assert "leads out of the checkpoint" in error_of(lambda: open_checkpoint(str(snapshot)))


def link_out(path: Path) -> None:
    outside = ensure(path.parent.parent / "outside") / path.name
    path.rename(outside)
    path.symlink_to(outside)


def link_to_nothing(path: Path) -> None:
    path.rename(path.parent / "moved")
    path.symlink_to("gone")


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def link_inside(path: Path) -> None:
    inside = ensure(path.parent / "inside") / path.name
    path.rename(inside)
    path.symlink_to(f"inside/{path.name}")


def lfs_pointer(path: Path) -> None:
    path.write_text(LFS_POINTER)


FAULTS = [
    (link_out, "leads out of the checkpoint, to "),
    (link_to_nothing, "is a link that leads nowhere (gone): download it again"),
    (link_to_itself, "is a link that leads nowhere"),
    (lfs_pointer, "is a Git LFS pointer and not the file itself: run `git lfs pull`"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_file_that_cannot_be_read_is_named(
    small_model: BarkModel, tmp_path: Path, name: str, damage: Callable[[Path], None], message: str
) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    damage(directory / name)
    assert f"{name} of bark {message}" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize(("damage", "message"), FAULTS)
@pytest.mark.parametrize("name", ["coarse.pt", "encodec_24khz-test.th"])
def test_a_file_in_suno_s_layout_that_cannot_be_read_is_named(
    suno: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], message: str
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "bark"))
    damage(directory / name)
    assert f"{name} of bark {message}" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize(("damage", "message"), FAULTS)
def test_a_codec_that_cannot_be_read_is_named(
    small_model: BarkModel, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    bark = save_huggingface(small_model, tmp_path / "bark")
    codec = save_huggingface(small_model, tmp_path / "codecs" / "codec")  # its config.json can be read
    damage(codec / "model.safetensors")
    assert f"model.safetensors of codec {message}" in error_of(
        lambda: open_checkpoint(str(bark), codec=codec).load("codec")
    )


def test_a_codec_file_that_is_an_lfs_pointer_is_named(suno: Path, tmp_path: Path) -> None:
    lfs_pointer(tmp_path / "encodec.th")
    assert "encodec.th is a Git LFS pointer" in error_of(
        lambda: open_checkpoint(str(suno), codec=tmp_path / "encodec.th")
    )


@pytest.mark.parametrize(("damage", "message"), FAULTS)
def test_vocab_txt_is_taken_if_tokenizer_json_cannot_be_read(
    small_model: BarkModel, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    damage(write_tokenizer(directory))
    with pytest.warns(BarkWarning) as caught:
        checkpoint = open_checkpoint(str(directory))
    assert [f"tokenizer.json of bark {message}" in str(warning.message) for warning in caught] == [True]
    assert checkpoint.tokenizer == directory / "vocab.txt"


@pytest.mark.parametrize("damage", [link_out, link_to_nothing, lambda path: (path.rmdir(), path.touch())])
def test_a_directory_of_voices_that_cannot_be_read_is_a_warning(
    small_model: BarkModel, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    damage(ensure(directory / "speaker_embeddings"))
    with pytest.warns(BarkWarning, match="^speaker_embeddings of bark "):
        assert open_checkpoint(str(directory)).voices is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "speaker_embeddings"])
def test_a_link_inside_the_checkpoint_is_followed(small_model: BarkModel, tmp_path: Path, name: str) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    write_tokenizer(directory)
    write_triple(directory / "speaker_embeddings", "v2/en_speaker_6", make_voice(SPACE, 100))
    link_inside(directory / name)
    assert_readable(directory)


def test_links_of_files_that_are_not_needed_do_not_matter(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    (directory / "README.md").symlink_to("/")
    (directory / "training_args.bin").symlink_to("gone")
    open_checkpoint(str(directory)).load("fine")
