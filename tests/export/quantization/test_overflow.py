"""Weights whose activations overflow are one clear error, not an error of torch."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bark_onnx.errors import BarkError
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle


def test_activations_that_overflow_cannot_be_rounded_to_4_bits(checkpoint: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    tensors = load_file(damaged / "model.safetensors")
    tensors["semantic.layers.0.mlp.in_proj.weight"] *= 1e22
    save_file(tensors, damaged / "model.safetensors", {"format": "pt"})
    with pytest.raises(BarkError, match=r"^blocks\.0\.mlp\.down cannot be rounded to 4 bits, because .* export int8$"):
        export_bundle(open_checkpoint(str(damaged)), tmp_path / "bundle", ExportOptions("int4"))
    assert not (tmp_path / "bundle").exists()
