"""The choice of a device. Tests set which providers ONNX Runtime lists."""

import warnings
from pathlib import Path

import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkWarning, DeviceError
from bark_onnx.graphs import device as device_module
from bark_onnx.graphs.device import Device
from run_command import SAY, assert_fails, run

CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]
HAS_GPU = CUDA[0] in ort.get_available_providers() and device_module.why_no_gpu() is None


@pytest.mark.parametrize(
    ("answers", "auto_gpu", "name"), [(True, True, "cuda"), (True, False, "cpu"), (False, True, "cpu")]
)
def test_auto_is_cuda_if_it_loads_and_is_faster(
    listed: pytest.MonkeyPatch, answers: bool, auto_gpu: bool, name: str
) -> None:
    listed.setattr(device_module, "why_no_gpu", lambda index=0: None if answers else "libcublas: no such file")
    with warnings.catch_warnings(record=True) as caught:
        assert Device.choose("auto", auto_gpu=auto_gpu).name == name
    assert ["libcublas: no such file" in str(one.message) for one in caught] == (
        [] if answers or not auto_gpu else [True]
    )


def test_auto_is_silent_where_cuda_is_not_built_in_or_the_bundle_is_for_cpus(
    bundle: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert Device.choose("auto").name == ("cuda" if HAS_GPU else "cpu")
    assert Bark.load(bundle).device.name == "cpu"  # fp32, which a GPU's attention does not take
    assert not list(recwarn)


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_device_that_is_listed_but_does_not_answer_is_an_error(listed: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"does not load here.*driver"):
        Device.choose("cuda")


@pytest.mark.parametrize(("name", "extra"), [("cuda", "gpu"), ("tensorrt", "tensorrt"), ("cuda:1", "gpu")])
def test_a_device_that_is_not_built_in_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=rf"needs \w+ExecutionProvider.*pip install '\.\[{extra}\]'"):
        Device.choose(name)


def test_unknown_devices_and_threads_are_errors() -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'tpu': this ONNX Runtime has auto, cpu"):
        Device.choose("tpu")
    with pytest.raises(DeviceError, match="threads"):
        Device.choose("cpu", 0)


@pytest.mark.parametrize("name", ["gpu", "azure", "AzureExecutionProvider"])
def test_an_unknown_device_lists_what_can_run_here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Not the provider that sends requests to a service, though it is in every build."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(DeviceError) as caught:
        Device.choose(name)
    text = str(caught.value)
    assert text.startswith(
        f"unknown device '{name}': this ONNX Runtime has auto, cpu; for cuda and tensorrt, in a checkout"
    )


def test_a_gpu_s_devices_are_listed_where_they_are(gpus: None) -> None:
    with pytest.raises(DeviceError, match=r"'foo': this ONNX Runtime has auto, cpu, cuda, tensorrt$"):
        Device.choose("foo")


@pytest.mark.parametrize("name", ["cuda:", "cuda:x", "cuda:-1", "cuda:99999", "cuda:1:2", "tensorrt:a"])
def test_a_gpu_is_named_by_a_number(gpus: None, name: str) -> None:
    with pytest.raises(DeviceError, match=r":0 is the first GPU"):
        Device.choose(name)


def test_there_is_one_cpu() -> None:
    with pytest.raises(DeviceError, match="one CPU"):
        Device.choose("cpu:1")


def test_one_of_several_gpus(gpus: None) -> None:
    device = Device.choose("cuda:1", options={"gpu_mem_limit": "1000000000", "use_tf32": "1"})
    assert (device.name, device.index, device.memory) == ("cuda", 1, "cuda")
    (provider, options), behind = device.providers(None)
    assert provider == CUDA[0]
    assert (options["device_id"], options["gpu_mem_limit"]) == ("1", "1000000000")
    assert options["use_tf32"] == "1"  # the caller's before ours, which keeps fp32 exact
    assert Device.choose("cuda").providers(None)[0][1]["use_tf32"] == "0"
    assert behind == (CUDA[1], {})
    assert (options["sdpa_kernel"], options["cudnn_conv_algo_search"]) == ("3", "HEURISTIC")
    own = {"sdpa_kernel": "8", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    assert own.items() <= Device.choose("cuda", options=own).providers(None)[0][1].items()
    with pytest.raises(DeviceError, match="does not load here"):
        Device.choose("cuda:2")


@pytest.mark.parametrize("name", ["openvino", "OpenVINO", "OpenVINOExecutionProvider"])
def test_any_provider_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    provider = "OpenVINOExecutionProvider"
    monkeypatch.setattr(ort, "get_available_providers", lambda: [provider, "CPUExecutionProvider"])
    device = Device.choose(name, options={"device_type": "NPU"})
    assert (device.name, device.memory) == (provider, "cpu")
    assert device.providers(None) == [(provider, {"device_type": "NPU"}), ("CPUExecutionProvider", {})]
    with pytest.raises(DeviceError, match=r"unknown device 'npu': this ONNX Runtime has auto, cpu, openvino"):
        Device.choose("npu")


def test_a_provider_that_is_known_but_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"needs CoreMLExecutionProvider.*does not have; use device 'cpu'"):
        Device.choose("coreml")


def test_the_cpu_by_its_long_name_is_the_cpu() -> None:
    assert Device.choose("CPUExecutionProvider") == Device.choose("cpu")


@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own
@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_bundle_that_is_slow_on_a_gpu_causes_a_warning(listed: pytest.MonkeyPatch) -> None:
    """nano, in int8. The warning comes before any graph is loaded. Loading fails then, since there is no GPU."""
    listed.setattr(device_module, "why_no_gpu", lambda index=0: None)
    advice = "export one in fp16"
    with pytest.warns(BarkWarning, match=advice), pytest.raises(DeviceError, match="did not start"):
        Bark.load(device="cuda")


def test_fp32_in_the_static_layout_is_refused_on_a_gpu(bundle: Path, gpus: None) -> None:
    """Its attention would run on the CPU. `auto` takes the CPU for the whole bundle."""
    with pytest.raises(DeviceError, match="no fp32 kernel for GPUs: export the bundle with --layout portable"):
        Bark.load(bundle, device="cuda")
    assert Bark.load(bundle, device="auto").device.name == "cpu"


def test_the_host_of_a_gpu_has_one_thread(gpus: None) -> None:
    assert [Device.choose(name).threads for name in ("cuda", "tensorrt")] == [1, 1]
    assert Device.choose("cuda", 2).threads == 2


@pytest.mark.parametrize("value", ["", "=", "=x", "key"])
def test_a_provider_option_is_a_pair(value: str) -> None:
    result = run(*SAY, "--provider-option", value)
    assert result.returncode == 2
    assert b"is not KEY=VALUE" in result.stderr


def test_an_unknown_device_is_one_line(bundle: Path) -> None:
    assert_fails(run("say", "hello", "--bundle", bundle, "--device", "tpu"), "unknown device 'tpu'")


@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own
@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_bundle_for_gpus_is_taken_by_auto(gpu_bundle: Path, gpus: None) -> None:
    with pytest.raises(DeviceError, match="did not start"):  # CUDA was tried, without a warning
        Bark.load(gpu_bundle)
