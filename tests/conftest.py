"""Small real parts: a generated checkpoint, the bundle exported from it, and the voices where they are at hand."""

from pathlib import Path

import pytest
from transformers import BarkModel

from bark_onnx import Bark
from bark_onnx_bench.checkpoints import make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle

VOICES = Path(__file__).parents[2] / "shared" / "voices"  # beside the checkout; the project does not contain them


@pytest.fixture(scope="session")
def model() -> BarkModel:
    """A small Bark with random weights and the published token space."""
    return make_bark()


@pytest.fixture(scope="session")
def checkpoint(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in Hugging Face's layout, with a tokenizer."""
    directory = save_huggingface(model, tmp_path_factory.mktemp("checkpoint") / "bark-test")
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an fp32 bundle."""
    return export(checkpoint, tmp_path_factory.mktemp("bundle") / "fp32", "fp32")


@pytest.fixture(scope="session")
def bark(bundle: Path) -> Bark:
    return Bark.load(bundle, device="cpu", threads=2)


@pytest.fixture(scope="session")
def voices() -> Path:
    """The directory of real voice presets."""
    if not VOICES.is_dir():
        pytest.skip("the real voice presets are not beside this checkout")
    return VOICES


def export(checkpoint: Path, target: Path, precision: str, *, voices: Path | None = None, verify: bool = False) -> Path:
    """Export a checkpoint and return the bundle's directory."""
    export_bundle(open_checkpoint(str(checkpoint)), target, ExportOptions(precision, voices=voices, verify=verify))
    return target
