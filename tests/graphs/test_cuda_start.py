"""CUDA's start: libraries are loaded first, standard output stays clean, and errors say what is missing."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import BarkWarning, BundleError, DeviceError
from bark_onnx.graphs import cuda
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.memory import Memory
from bark_onnx.graphs.session import Graph
from onnx_files import FLOAT, model, node, value_info

CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]
MISSING = "libcublasLt.so.13: cannot open shared object file: No such file or directory"
NO_CUDNN = (
    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Exception during initialization: /src/cuda_kernel.h:296 RequireCudnn() "
    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : cuDNN is unavailable or disabled: dlopen failed for libcudnn.so\n"
)
NO_GPU = "CUDA failure 100: no CUDA-capable device is detected ; GPU=0 ; hostname=host ; file=/src/cuda_call.cc"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """CUDA is built in. What is asked of ONNX Runtime, in order; its preloading prints that a library is missing."""
    made: list[object] = []

    def preload(**options: object) -> None:
        made.append(options)
        print(f"Failed to load libcublasLt.so.13: {MISSING}")
        print("Please follow https://onnxruntime.ai")
        os.write(1, b"a library's greeting\n")

    def allocate(*_: object) -> None:
        made.append("allocate")
        raise RuntimeError("CUDA Provider not available")

    monkeypatch.setattr(ort, "get_available_providers", lambda: CUDA)
    monkeypatch.setattr(ort, "preload_dlls", preload)
    monkeypatch.setattr(ort, "set_default_logger_severity", lambda level: made.append(level))
    monkeypatch.setattr(cuda, "allocate", allocate)
    monkeypatch.setattr(cuda, "_package_directories", lambda: iter([Path("a/cu13/lib"), Path("a/cudnn/lib")]))
    cuda._load_libraries.cache_clear()
    yield made
    cuda._load_libraries.cache_clear()


def test_libraries_are_loaded_once_before_cuda_is_asked_for(
    calls: list[object], capfd: pytest.CaptureFixture[str]
) -> None:
    assert cuda.why_no_gpu() == cuda.why_no_gpu(1) == MISSING
    both = {"msvc": False, "directory": "a/cu13/lib"}, {"msvc": False, "directory": "a/cudnn/lib"}
    assert calls == [
        4,  # ONNX Runtime writes no coloured lines to standard error
        {"cuda": True, "cudnn": False, **both[0]},
        {"cuda": False, "cudnn": True, **both[1]},
        {},
        "allocate",
        "allocate",
    ]
    print("afterwards")
    out, err = capfd.readouterr()
    assert out == "afterwards\n"
    assert err == "a library's greeting\n" * 3


def test_standard_output_may_be_closed(calls: list[object]) -> None:
    kept = os.dup(1)
    os.close(1)
    try:
        assert cuda.why_no_gpu() == MISSING
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(1)
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_auto_and_cuda_name_the_library_that_is_missing(calls: list[object]) -> None:
    with pytest.warns(BarkWarning, match=r"device 'auto' is the CPU.*libcublasLt\.so\.13.*extra gpu installs"):
        assert Device.choose("auto").name == "cpu"
    with pytest.raises(DeviceError, match=r"does not load here \(libcublasLt\.so\.13: cannot open"):
        Device.choose("cuda")


def test_a_missing_driver_is_named(calls: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """All packages are there, and preloading says nothing."""
    monkeypatch.setattr(ort, "preload_dlls", lambda **_: None)
    monkeypatch.setattr(cuda, "_DRIVER", "libno-driver.so.1")
    assert cuda.why_no_gpu() == "libno-driver.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (NO_CUDNN, "cuDNN is unavailable or disabled: dlopen failed for libcudnn.so"),
        (NO_GPU, "CUDA failure 100: no CUDA-capable device is detected"),
        ("something else\nand more", "something else"),
    ],
)
def test_what_cuda_says_is_kept(said: str, kept: str) -> None:
    assert cuda.failure(RuntimeError(said)) == kept


def test_libraries_are_found_in_every_place_of_the_nvidia_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [tmp_path / "b" / "nvidia" / "cu13" / "lib", tmp_path / "a" / "nvidia" / "cudnn" / "lib"]
    others = [tmp_path / "a" / "nvidia" / "cu12" / "lib", tmp_path / "b" / "nvidia" / "empty"]
    for directory in (*wanted, *others):
        directory.mkdir(parents=True)
    for directory in (*wanted, others[0]):
        (directory / "libany.so.1").touch()
    for base in ("a", "b"):
        monkeypatch.syspath_prepend(str(tmp_path / base))
    monkeypatch.setattr(ort, "cuda_version", "13.0", raising=False)
    assert list(cuda._package_directories()) == wanted


def _graph(path: Path, device: Device) -> Graph:
    shapes = {"x": (np.float32, (None,))}, {"y": (np.float32, (None,))}
    return Graph(path, device, *shapes)


@pytest.fixture
def absolute(tmp_path: Path) -> Path:
    values = value_info("x", FLOAT, "n"), value_info("y", FLOAT, "n")
    (tmp_path / "abs.onnx").write_bytes(model(node("Abs", ["x"], "y"), [values[0]], [values[1]], []))
    return tmp_path / "abs.onnx"


def test_a_device_that_cannot_load_a_graph_is_not_the_bundle_s_fault(
    absolute: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def create(*_: object) -> None:
        raise RuntimeError(NO_CUDNN)

    monkeypatch.setattr(ort.InferenceSession, "_create_inference_session", create)
    with pytest.raises(DeviceError, match=r"'cuda': CUDA.* cannot load abs\.onnx \(cuDNN is unavailable"):
        _graph(absolute, Device("cuda"))
    assert capfd.readouterr().out == ""
    with pytest.raises(BundleError, match="export the bundle again"):
        _graph(absolute, Device("cpu"))


@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own
def test_a_file_that_is_no_graph_is_the_bundle_s_fault_on_every_device(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    for device in ("cpu", "cuda"):
        with pytest.raises(BundleError, match=r"cannot load bad\.onnx.*export the bundle again"):
            _graph(tmp_path / "bad.onnx", Device(device))


def test_a_run_that_fails_on_a_device_says_so(absolute: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _graph(absolute, Device("cpu"))
    monkeypatch.setattr(graph, "_device", Device("cuda"))
    x, y = np.zeros(3, np.float32), np.zeros(2, np.float32)
    with pytest.raises(DeviceError, match=r"device 'cuda': abs\.onnx failed while it ran: "):
        graph.bind({"x": Memory.of(x)}, {"y": Memory.of(y)}).run()
