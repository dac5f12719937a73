"""A generated checkpoint with the published token space, and its bundle. Needs torch; made once in a run of the tests.

conftest.py in the folders export and bench imports these fixtures.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BarkModel

from bark_onnx import Bark
from bark_onnx_bench.checkpoints import make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_export.graphs import export as graphs
from bark_onnx_export.graphs.tracing import Tracing, export_graph


def export(
    checkpoint: Path,
    target: Path,
    precision: str,
    layout: str = "static",
    *,
    voices: Path | None = None,
    verify: bool = False,
) -> Path:
    """Export a checkpoint and return the bundle's directory."""
    options = ExportOptions(precision, layout, voices=voices, verify=verify)
    export_bundle(open_checkpoint(str(checkpoint)), target, options)
    return target


@cache
def _model() -> BarkModel:
    return make_bark()


@cache
def _checkpoint(directory: Path) -> Path:
    save_huggingface(_model(), directory)
    write_tokenizer(directory)
    return directory


@cache
def _bundle(directory: Path) -> Path:
    return export(_checkpoint(directory / "bark-test"), directory / "fp32", "fp32")


@pytest.fixture(scope="session", autouse=True)
def traced_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Do not trace a module again that is equal to one before, with the same weights: that takes most of an export.

    To trace all the same, set `bark_onnx_export.graphs.export.export_graph` to the real function.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "export_graph", _remembering(tmp_path_factory.mktemp("traced")))
        yield


def _remembering(directory: Path) -> Callable[[Tracing, Path], None]:
    """`export_graph`, with its files kept in a directory."""

    def export_once(tracing: Tracing, path: Path) -> None:
        kept = directory / _hash(tracing, path.name)
        if not kept.exists():
            kept.mkdir()
            export_graph(tracing, kept / path.name)
        for file in kept.iterdir():
            shutil.copy(file, path.parent)

    return export_once


def _hash(tracing: Tracing, name: str) -> str:
    """Of everything that decides what a trace gives."""
    parts = [(part, type(one), _settings(one)) for part, one in tracing.module.named_modules()]
    arguments = [(one.shape, one.dtype, one.tolist()) for one in tracing.arguments]
    names = tracing.input_names, tracing.output_names, name
    found = sha256(repr((parts, arguments, tracing.free_axes, names)).encode())
    for key, tensor in [*tracing.module.named_parameters(), *tracing.module.named_buffers()]:
        found.update(repr((key, tensor.shape, tensor.dtype)).encode())
        found.update(tensor.detach().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _settings(module: nn.Module) -> list[tuple[str, object]]:
    return sorted((key, value) for key, value in vars(module).items() if not key.startswith("_"))


@pytest.fixture(scope="session")
def model() -> BarkModel:
    """A Bark with random weights, two layers, and the published token space."""
    return _model()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in Hugging Face's layout, with a tokenizer."""
    return _checkpoint(tmp_path_factory.getbasetemp() / "generated" / "bark-test")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an fp32 bundle."""
    return _bundle(tmp_path_factory.getbasetemp() / "generated")


@pytest.fixture(scope="session")
def bark(bundle: Path) -> Bark:
    return Bark.load(bundle, device="cpu", threads=2)
