"""Providers that ONNX Runtime lists, as on other machines."""

import onnxruntime as ort
import pytest

from bark_onnx.graphs import device as device_module

CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]
ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """CUDA is built in, but no GPU answers unless the test says so."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: CUDA)
    return monkeypatch


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT and CUDA are built in, and two GPUs answer."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(device_module, "why_no_gpu", lambda index=0: None if index < 2 else "no such GPU")
