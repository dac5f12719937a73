"""Checkpoints that tests read, and functions to damage them.

A test module imports a fixture under its own name (`small as small`), by which ruff knows that it is used.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BarkModel

from bark_onnx.model.manifest import STAGES
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, save_suno
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.errors import CheckpointError
from bark_onnx_export.weights.weights import Weights

State = dict[str, torch.Tensor]

LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 8928\n"


@pytest.fixture(scope="module")
def weights(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Weights]:
    return load_all(save_huggingface(model, tmp_path_factory.mktemp("reference")))


@pytest.fixture(scope="module")
def suno(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_suno(model, tmp_path_factory.mktemp("suno"))


@pytest.fixture(scope="module")
def small_model() -> BarkModel:
    """A model of the sizes of the committed bundle, so that its graphs are traced only once in a run of the tests."""
    return make_bark(vocabulary=SMALL_VOCABULARY, layers=2, heads=2, width=16, filters=2, codec_width=8)


@pytest.fixture
def small(small_model: BarkModel, tmp_path: Path) -> Path:
    """A Hugging Face checkpoint of a few megabytes, which tests may damage."""
    return save_huggingface(small_model, tmp_path / "small")


def load_all(directory: Path, **options: Any) -> dict[str, Weights]:
    checkpoint = open_checkpoint(str(directory), **options)
    return {stage: checkpoint.load(stage) for stage in STAGES}


def assert_same(loaded: dict[str, Weights], expected: dict[str, Weights]) -> None:
    for stage in STAGES:
        assert loaded[stage].size == expected[stage].size
        assert loaded[stage].tensors.keys() == expected[stage].tensors.keys()
        for name, tensor in loaded[stage].tensors.items():
            assert tensor.dtype is torch.float32
            assert tensor.is_contiguous()
            assert torch.equal(tensor, expected[stage].tensors[name]), name


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_state(directory: Path, edit: Callable[[State], object]) -> None:
    state = load_file(directory / "model.safetensors")
    edit(state)
    save_file(state, directory / "model.safetensors")


def edit_json(path: Path, section: str | None, **values: object) -> None:
    config = json.loads(path.read_text())
    (config[section] if section else config).update(values)
    path.write_text(json.dumps(config))


def replace_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], object]:
    return lambda state: state.update({name: change(state[name])})


def ensure(directory: Path) -> Path:
    """Make a directory, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory
