"""A damaged, incomplete or hostile checkpoint is a one-line error, and no code in it is run."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BarkModel

from bark_onnx_bench.checkpoints import save_huggingface
from bark_onnx_export.checkpoint import open_checkpoint
from checkpoint_files import edit_json, error_of
from checkpoint_files import small as small
from checkpoint_files import small_model as small_model
from checkpoint_files import suno as suno


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_broken_json_is_an_error(small: Path, name: str, text: bytes) -> None:
    (small / name).write_bytes(text)
    assert name in error_of(lambda: open_checkpoint(str(small)))


@pytest.mark.parametrize("format", ["safetensors", "bin"])
@pytest.mark.parametrize("kept", [0, 5, 1000, 500_000])
def test_truncated_weights_are_found_when_a_checkpoint_is_opened(
    small_model: BarkModel, tmp_path: Path, format: Any, kept: int
) -> None:
    directory = save_huggingface(small_model, tmp_path, format=format)
    path = directory / {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[format]
    assert path.stat().st_size > kept
    os.truncate(path, kept)
    message = error_of(lambda: open_checkpoint(str(directory)))
    assert message.startswith(f"{path.name} is {'empty' if kept == 0 and format == 'bin' else 'incomplete or damaged'}")
    assert message.endswith(": download it again")


@pytest.mark.parametrize("format", ["sharded", "sharded bin"])
def test_a_truncated_shard_is_found_when_a_checkpoint_is_opened(
    small_model: BarkModel, tmp_path: Path, format: Any
) -> None:
    directory = save_huggingface(small_model, tmp_path, format=format)
    last = sorted(path for path in directory.glob("*-of-*"))[-1]
    os.truncate(last, last.stat().st_size - 1)
    assert error_of(lambda: open_checkpoint(str(directory))).startswith(f"{last.name} is incomplete or damaged")


@pytest.mark.parametrize("name", ["text.pt", "coarse.pt", "fine.pt", "encodec_24khz-test.th"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_in_suno_s_layout_is_found_when_a_checkpoint_is_opened(
    suno: Path, tmp_path: Path, name: str, kept: float
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    os.truncate(directory / name, int(kept * (directory / name).stat().st_size))
    assert error_of(lambda: open_checkpoint(str(directory))).startswith(f"{name} is ")


@pytest.mark.parametrize("layout", ["file", "directory"])
def test_a_truncated_codec_from_elsewhere_is_found_when_a_checkpoint_is_opened(
    small_model: BarkModel, small: Path, suno: Path, tmp_path: Path, layout: str
) -> None:
    codec = save_huggingface(small_model, tmp_path / "codec")
    path = codec / "model.safetensors"
    if layout == "file":
        codec = path = Path(shutil.copy(suno / "encodec_24khz-test.th", tmp_path / "codec.th"))
    os.truncate(path, path.stat().st_size // 2)
    message = error_of(lambda: open_checkpoint(str(small), codec=codec))
    assert message.startswith(f"{path.name} is incomplete or damaged")


def test_a_file_without_its_middle_is_found_when_a_checkpoint_is_opened(suno: Path, tmp_path: Path) -> None:
    """Its table of entries, at the end, is whole."""
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    content = (directory / "coarse.pt").read_bytes()
    (directory / "coarse.pt").write_bytes(content[:1000] + content[2000:])
    message = error_of(lambda: open_checkpoint(str(directory)))
    assert message.startswith("coarse.pt is incomplete or damaged")


@pytest.mark.parametrize("legacy", [False, True])
def test_opening_reads_no_tensors(
    small_model: BarkModel, suno: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    if legacy:
        value = torch.load(directory / "text.pt", weights_only=False)
        torch.save(value, directory / "text.pt", _use_new_zipfile_serialization=False)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    open_checkpoint(str(directory))
    open_checkpoint(str(save_huggingface(small_model, tmp_path / "bin", format="bin")))


def test_a_checkpoint_without_weights_is_an_error(small: Path) -> None:
    (small / "model.safetensors").unlink()
    assert "neither model.safetensors nor pytorch_model.bin" in error_of(lambda: open_checkpoint(str(small)))


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    assert "neither a Hugging Face model" in error_of(lambda: open_checkpoint(str(tmp_path)))


def test_a_missing_shard_is_named(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path, format="sharded bin")
    (directory / "pytorch_model-00002-of-00002.bin").unlink()
    assert "pytorch_model-00002-of-00002.bin is missing" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize(
    "shard", ["../outside.bin", "/outside.bin", "a/outside.bin", "..\\outside.bin", "..", "", "x.py"]
)
def test_shards_in_other_directories_are_refused(small_model: BarkModel, tmp_path: Path, shard: str) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark", format="sharded bin")
    torch.save({}, tmp_path / "outside.bin")
    edit_json(directory / "pytorch_model.bin.index.json", "weight_map", **{"semantic.lm_head.weight": shard})
    assert "refused" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize("weight_map", [None, {}, [], {"semantic.lm_head.weight": 3}])
def test_an_index_without_shards_is_an_error(small: Path, weight_map: object) -> None:
    (small / "model.safetensors").rename(small / "model-00001-of-00001.safetensors")
    (small / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "no weight_map" in error_of(lambda: open_checkpoint(str(small)))


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "text.pt", "encodec.th"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle 2", "pickle 4"])
def test_pickles_with_code_are_refused_and_not_run(
    small_model: BarkModel, suno: Path, tmp_path: Path, name: str, form: str
) -> None:
    directory, mark = tmp_path / "bark", tmp_path / "executed"
    if name == "pytorch_model.bin":
        save_huggingface(small_model, directory, format="bin")
    else:
        shutil.copytree(suno, directory)
        (directory / "encodec_24khz-test.th").rename(directory / "encodec.th")
    value = {"model_args": {}, "model": {"weight": torch.zeros(1)}, "attack": Attack(mark)}
    if form.startswith("pickle"):
        (directory / name).write_bytes(pickle.dumps(Attack(mark), protocol=int(form[-1])))
    else:
        torch.save(value, directory / name, _use_new_zipfile_serialization=form == "zip")
    checkpoint = open_checkpoint(str(directory))
    message = error_of(lambda: checkpoint.load("codec" if name == "encodec.th" else "semantic"))
    assert f"{name} was refused" in message
    assert not mark.exists()


def test_tensors_larger_than_their_bytes_are_refused(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path, format="bin")
    state = torch.load(directory / "pytorch_model.bin")
    state["semantic.lm_head.weight"] = torch.zeros(1).expand_as(state["semantic.lm_head.weight"])
    torch.save(state, directory / "pytorch_model.bin")
    message = error_of(lambda: open_checkpoint(str(directory)).load("semantic"))
    assert "semantic.lm_head.weight is not a plain tensor" in message


@pytest.mark.parametrize("value", [[1, 2], {"semantic.lm_head.weight": "text"}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_a_file_that_holds_no_state_dict_is_an_error(small_model: BarkModel, tmp_path: Path, value: object) -> None:
    directory = save_huggingface(small_model, tmp_path, format="bin")
    torch.save(value, directory / "pytorch_model.bin")
    assert "does not hold a state dict" in error_of(lambda: open_checkpoint(str(directory)).load("semantic"))
