"""The choice of a device, on machines that this one is not: tests set which providers ONNX Runtime lists."""

from pathlib import Path

import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkWarning, DeviceError
from bark_onnx import session as session_module
from bark_onnx.session import Device

CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """CUDA is built in, but no GPU answers unless the test says so."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: CUDA)
    return monkeypatch


@pytest.mark.parametrize(
    ("answers", "auto_gpu", "name"), [(True, True, "cuda"), (True, False, "cpu"), (False, True, "cpu")]
)
def test_auto_is_cuda_where_it_answers_and_pays(
    listed: pytest.MonkeyPatch, answers: bool, auto_gpu: bool, name: str
) -> None:
    listed.setattr(session_module, "_gpu_answers", lambda: answers)
    assert Device.choose("auto", auto_gpu=auto_gpu).name == name


def test_auto_falls_back_silently(bundle: Path, recwarn: pytest.WarningsRecorder) -> None:
    assert Device.choose("auto").name == ("cuda" if session_module._gpu_answers() else "cpu")
    assert Bark.load(bundle).device.name == "cpu"  # fp32, which a GPU's attention does not take
    assert not list(recwarn)


@pytest.mark.skipif(session_module._gpu_answers(), reason="this machine has a GPU")
def test_a_device_that_is_listed_but_does_not_answer_is_an_error(listed: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"does not load here.*driver"):
        Device.choose("cuda")


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_device_that_is_not_built_in_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"needs \w+ExecutionProvider.*bark-onnx\[gpu\]"):
        Device.choose(name)


def test_unknown_devices_and_threads_are_errors() -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'tpu'; choose one of auto, cpu, cuda, tensorrt"):
        Device.choose("tpu")
    with pytest.raises(DeviceError, match="threads"):
        Device.choose("cpu", 0)


@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own
@pytest.mark.skipif(session_module._gpu_answers(), reason="this machine has a GPU")
def test_a_bundle_that_a_gpu_does_not_speed_up_says_so(bundle: Path, listed: pytest.MonkeyPatch) -> None:
    """The warning comes before any graph is loaded, which without a GPU then fails."""
    listed.setattr(session_module, "_gpu_answers", lambda: True)
    advice = "export with --precision fp16"
    with pytest.warns(BarkWarning, match=advice), pytest.raises(DeviceError, match="did not start"):
        Bark.load(bundle, device="cuda")
