"""Links in a checkpoint: followed inside it and into its own hub cache, and named wherever else they lead."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BarkModel

from bark_onnx.errors import BarkWarning
from bark_onnx_bench.checkpoints import save_huggingface, write_tokenizer
from bark_onnx_export.bundle.voice_files import read_voices
from bark_onnx_export.checkpoint import open_checkpoint
from checkpoint_files import LFS_POINTER, error_of
from checkpoint_files import small_model as small_model
from checkpoint_files import suno as suno
from voice_directories import ensure, make_small_voice, write_triple

COMMIT = "70a8a7d34168586dc5d028fa9666aceade177992"


@pytest.fixture
def snapshot(small_model: BarkModel, tmp_path: Path) -> Path:
    """As huggingface_hub leaves a download: every file a relative link into `blobs` beside `snapshots`."""
    cache = tmp_path / "hub" / "models--suno--bark-small"
    directory = save_huggingface(small_model, cache / "snapshots" / COMMIT)
    write_tokenizer(directory)
    write_triple(directory / "speaker_embeddings", "v2/en_speaker_6", make_small_voice())
    for number, path in enumerate(sorted(path for path in directory.rglob("*") if path.is_file())):
        blob = ensure(cache / "blobs") / f"{number:040x}"
        path.rename(blob)
        path.symlink_to(Path(*[".."] * (len(path.relative_to(cache).parts) - 1)) / "blobs" / blob.name)
    return directory


def assert_whole(directory: Path) -> None:
    checkpoint = open_checkpoint(str(directory))
    checkpoint.load("codec")
    assert checkpoint.tokenizer == directory / "tokenizer.json"
    assert checkpoint.voices is not None
    found = read_voices(checkpoint.voices, checkpoint.vocabulary, within=directory)
    assert (list(found.presets), found.problems()) == (["v2/en_speaker_6"], [])


def test_links_into_the_repository_s_own_blobs_are_followed(snapshot: Path) -> None:
    assert_whole(snapshot)
    given = read_voices(snapshot / "speaker_embeddings", open_checkpoint(str(snapshot)).vocabulary)  # by --voices
    assert (list(given.presets), given.problems()) == (["v2/en_speaker_6"], [])


def test_a_cache_may_lie_behind_a_link(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to("hub", target_is_directory=True)
    assert_whole(tmp_path / "cache" / snapshot.relative_to(tmp_path / "hub"))


def test_blobs_may_be_links_into_the_store_that_a_cache_shares(snapshot: Path, tmp_path: Path) -> None:
    """huggingface_hub 2 keeps a file of several repositories once, in `blobs` of the whole cache, which it marks."""
    store = ensure(tmp_path / "hub" / "blobs" / "ab")
    for blob in sorted(snapshot.parents[1].joinpath("blobs").iterdir()):
        shared = store / f"ab{blob.name:0>62}"
        blob.rename(shared)
        blob.symlink_to(f"../../blobs/ab/{shared.name}")
    assert "leads out of the checkpoint" in error_of(lambda: open_checkpoint(str(snapshot)))  # any directory's name
    (tmp_path / "hub" / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    assert_whole(snapshot)


def test_blobs_that_are_a_link_themselves_are_not_the_repository_s(snapshot: Path, tmp_path: Path) -> None:
    blobs = snapshot.parents[1] / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    message = error_of(lambda: open_checkpoint(str(snapshot)))
    assert f"config.json of {COMMIT} leads out of the checkpoint, to {tmp_path / 'elsewhere'}" in message


def test_blobs_of_another_repository_are_not_this_one_s(snapshot: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_file_that_cannot_be_read_is_named(
    small_model: BarkModel, tmp_path: Path, name: str, spoil: Callable[[Path], None], message: str
) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    spoil(directory / name)
    assert f"{name} of bark {message}" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
@pytest.mark.parametrize("name", ["coarse.pt", "encodec_24khz-test.th"])
def test_a_file_of_suno_s_that_cannot_be_read_is_named(
    suno: Path, tmp_path: Path, name: str, spoil: Callable[[Path], None], message: str
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "bark"))
    spoil(directory / name)
    assert f"{name} of bark {message}" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_a_codec_that_cannot_be_read_is_named(
    small_model: BarkModel, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    bark = save_huggingface(small_model, tmp_path / "bark")
    codec = save_huggingface(small_model, tmp_path / "codecs" / "codec")  # its config.json is read first, and is good
    spoil(codec / "model.safetensors")
    assert f"model.safetensors of codec {message}" in error_of(
        lambda: open_checkpoint(str(bark), codec=codec).load("codec")
    )


def test_a_codec_file_that_is_an_lfs_pointer_is_named(suno: Path, tmp_path: Path) -> None:
    lfs_pointer(tmp_path / "encodec.th")
    assert "encodec.th is a Git LFS pointer" in error_of(
        lambda: open_checkpoint(str(suno), codec=tmp_path / "encodec.th")
    )


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_without_its_tokenizer_json_a_checkpoint_has_its_vocab_txt(
    small_model: BarkModel, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    spoil(write_tokenizer(directory))
    with pytest.warns(BarkWarning) as caught:
        checkpoint = open_checkpoint(str(directory))
    assert [f"tokenizer.json of bark {message}" in str(warning.message) for warning in caught] == [True]
    assert checkpoint.tokenizer == directory / "vocab.txt"


@pytest.mark.parametrize("spoil", [link_out, link_to_nothing, lambda path: (path.rmdir(), path.touch())])
def test_voices_that_are_no_directory_of_the_checkpoint_s_are_named(
    small_model: BarkModel, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    spoil(ensure(directory / "speaker_embeddings"))
    with pytest.warns(BarkWarning, match="^speaker_embeddings of bark "):
        assert open_checkpoint(str(directory)).voices is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "speaker_embeddings"])
def test_a_link_inside_the_checkpoint_is_followed(small_model: BarkModel, tmp_path: Path, name: str) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    write_tokenizer(directory)
    write_triple(directory / "speaker_embeddings", "v2/en_speaker_6", make_small_voice())
    link_inside(directory / name)
    assert_whole(directory)


def test_a_link_that_nothing_reads_is_nobody_s_business(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark")
    (directory / "README.md").symlink_to("/")
    (directory / "training_args.bin").symlink_to("gone")
    open_checkpoint(str(directory)).load("fine")
