"""A generated checkpoint with the published token space, and its bundle. Needs torch; made once in a run of the tests.

conftest.py in the folders export and bench imports these fixtures.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from transformers import BarkModel

from bark_onnx import Bark
from bark_onnx_bench.checkpoints import make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from traces import remembering


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
def traced_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Do not trace a module again that has the structure of one before: that takes most of an export.

    The traces are in the directory that this returns. All processes of a run of the tests share it. To trace all the
    same, set `bark_onnx_export.graphs.export.export_graph` to the real function.
    """
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "traces"
    directory.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, replacement in remembering(directory):
            patch.setattr(module, name, replacement)
        yield directory


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
    return Bark.load(bundle, device="cpu", threads=1)
