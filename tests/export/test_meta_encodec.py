"""Parity with Meta's own package `encodec`, which is really run: the waveform within 1e-4, names and shapes exactly."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import EncodecConfig, EncodecModel

import meta_encodec
from bark_onnx.graphs.codec import CodecDecoder
from bark_onnx.graphs.device import Device
from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx_bench.checkpoints.suno import meta_codec
from bark_onnx_export.graphs.networks import codec_graph
from bark_onnx_export.graphs.tracing import export_graph
from bark_onnx_export.modules.codec import CodecModule
from bark_onnx_export.weights.encodec import open_codec

TOLERANCE = 1e-4

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("encodec") is None, reason="needs pip install --no-deps encodec einops"
)


@pytest.fixture(scope="module")
def metas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that Meta's package has written."""
    directory = tmp_path_factory.mktemp("metas")
    command = [sys.executable, meta_encodec.__file__, directory]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return directory


@pytest.fixture(scope="module")
def ours(metas: Path) -> CodecDecoder:
    """Our graph with Meta's weights."""
    weights = open_codec(metas / meta_encodec.WEIGHTS, Vocabulary())()
    assert weights.size == CodecSize()  # the published sizes
    export_graph(codec_graph(CodecModule.from_tensors(weights.size, weights.tensors)), metas / "codec.onnx")
    return CodecDecoder(metas / "codec.onnx", weights.size, Device.choose("cpu", 1))


@pytest.mark.parametrize("frames", meta_encodec.FRAMES)
def test_the_waveform_is_that_of_metas_package(metas: Path, ours: CodecDecoder, frames: int) -> None:
    with np.load(metas / f"{frames}.npz") as file:
        codes, expected = file["codes"], file["waveform"]
    waveform = ours.decode(codes)
    assert waveform.shape == expected.shape == (320 * frames,)
    assert loudness(expected) > 0.05  # or the tolerance would say nothing
    difference = float(np.abs(waveform - expected).max())
    print(f"{frames} frames: loudness {loudness(expected):.3f}, largest difference {difference:.1e}")
    assert difference < TOLERANCE


def test_the_names_and_shapes_of_the_published_state_dict(metas: Path) -> None:
    """Those of Meta's package are those that the checkpoints of our other tests have, with all 32 codebooks."""
    published = torch.load(metas / meta_encodec.WEIGHTS, weights_only=True)
    with torch.device("meta"):
        generated = meta_codec(SimpleNamespace(codec_model=EncodecModel(EncodecConfig())))
    assert shapes(generated) == shapes(published)
    assert len(published) == 252
    assert "quantizer.vq.layers.31._codebook.embed" in published


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def loudness(waveform: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(waveform))))
