"""Suno's files: which are read, in which formats, and what is checked in them."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.weights.weights import Weights
from checkpoint_files import assert_same, error_of, load_all
from checkpoint_files import suno as suno
from checkpoint_files import weights as weights


def edit_suno(path: Path, edit: Callable[[dict[str, Any]], object], **options: Any) -> None:
    checkpoint = torch.load(path, weights_only=False)
    edit(checkpoint)
    torch.save(checkpoint, path, **options)


def test_a_directory_with_both_sizes_needs_a_choice(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    for name in ("text", "coarse", "fine"):
        shutil.copy(suno / f"{name}.pt", tmp_path / f"{name}.pt")
        (tmp_path / f"{name}_2.pt").write_bytes(b"not read")
    shutil.copy(suno / "encodec_24khz-test.th", tmp_path)
    assert "choose with --model-size" in error_of(lambda: open_checkpoint(str(tmp_path)))
    assert_same(load_all(tmp_path, model_size="small"), weights)


def test_missing_files_of_a_model_are_named(suno: Path, tmp_path: Path) -> None:
    shutil.copy(suno / "text.pt", tmp_path)
    assert "lacks coarse.pt, fine.pt" in error_of(lambda: open_checkpoint(str(tmp_path)))
    assert "lacks text_2.pt" in error_of(lambda: open_checkpoint(str(suno), model_size="large"))


def test_files_are_read_one_network_at_a_time(suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    (directory / "fine.pt").write_bytes(b"damaged")
    checkpoint = open_checkpoint(str(directory))
    checkpoint.load("coarse")
    assert "fine.pt" in error_of(lambda: checkpoint.load("fine"))


def test_files_of_older_torch_and_numpy_are_read(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    edit_suno(directory / "coarse.pt", lambda _: None, _use_new_zipfile_serialization=False)
    # The published files hold numpy scalars under the name that numpy 1 gave them.
    with zipfile.ZipFile(suno / "fine.pt") as new, zipfile.ZipFile(directory / "fine.pt", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert_same(load_all(directory), weights)


def test_compressed_files_are_read(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    with (
        zipfile.ZipFile(suno / "fine.pt") as stored,
        zipfile.ZipFile(directory / "fine.pt", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    assert_same(load_all(directory), weights)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("text", lambda checkpoint: checkpoint.pop("model_args"), "text.pt is not Suno's"),
        ("text", lambda checkpoint: checkpoint.update(model=[]), "text.pt does not hold a state dict"),
        ("text", lambda checkpoint: checkpoint["model_args"].update(n_layer=500), "n_layer in model_args of text.pt"),
        ("text", lambda checkpoint: checkpoint["model_args"].update(n_head=5), "a width of 32 among 5 heads"),
        (
            "coarse",
            lambda checkpoint: checkpoint["model"].pop("_orig_mod.transformer.h.1.ln_2.weight"),
            "no transformer.h.1.ln_2.weight",
        ),
        (
            "fine",
            lambda checkpoint: checkpoint["model"].update({"_orig_mod.lm_heads.0.weight": torch.zeros(1056, 32)}),
            "heads that are not its embeddings (lm_heads.0.weight)",
        ),
    ],
)
def test_suno_files_are_checked(
    suno: Path, tmp_path: Path, name: str, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    edit_suno(directory / f"{name}.pt", edit)
    checkpoint = open_checkpoint(str(directory))
    assert message in error_of(lambda: checkpoint.load({"text": "semantic"}.get(name, name)))
