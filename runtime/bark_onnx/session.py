"""Where graphs run: execution providers, session options and threads. The one place where a provider is chosen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .errors import BundleError, DeviceError

DEVICES = ("auto", "cpu", "cuda", "tensorrt")

_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


@dataclass(frozen=True)
class Device:
    """A chosen execution provider. `threads` are those of one graph run; None leaves the number to ONNX Runtime."""

    name: str
    threads: int | None = None

    @classmethod
    def choose(cls, name: str = "auto", threads: int | None = None) -> "Device":
        """`auto` is CUDA where it loads, else the CPU. Raises DeviceError for a device that is not to be had."""
        if threads is not None and not 1 <= threads <= 1024:
            raise DeviceError(f"threads must be from 1 to 1024, not {threads}")
        available = ort.get_available_providers()
        if name == "auto":
            name = "cuda" if "CUDAExecutionProvider" in available and _gpu_answers() else "cpu"
        if name not in _PROVIDERS:
            raise DeviceError(f"unknown device {name!r}; choose one of {', '.join(DEVICES)}")
        provider = _PROVIDERS[name][0]
        if provider not in available:
            raise DeviceError(
                f"device {name!r} needs {provider}, which this ONNX Runtime ({ort.__version__}) does not have; "
                "install 'bark-onnx[gpu]' in place of 'bark-onnx[cpu]', or use device 'cpu'"
            )
        if name != "cpu" and not _gpu_answers():
            raise DeviceError(
                f"device {name!r}: {provider} is installed but does not load here; "
                "check the GPU's driver and the CUDA and cuDNN libraries, or use device 'cpu'"
            )
        return cls(name, threads)

    @property
    def memory(self) -> str:
        """Where the provider keeps tensors, in ONNX Runtime's words."""
        return "cpu" if self.name == "cpu" else "cuda"

    def open(self, path: Path) -> ort.InferenceSession:
        """Load one graph. Raises BundleError if ONNX Runtime does not accept it."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads or 0
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(path, options, providers=_PROVIDERS[self.name])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(f"ONNX Runtime {ort.__version__} cannot load {path.name}: {_first_line(error)}") from None
        if session.get_providers()[0] != _PROVIDERS[self.name][0]:
            raise DeviceError(
                f"device {self.name!r}: {_PROVIDERS[self.name][0]} did not start; are its libraries installed?"
            )
        return session

    def zeros(self, shape: tuple[int, ...], dtype: type[np.generic]) -> tuple[ort.OrtValue, NDArray[np.generic] | None]:
        """A tensor in the device's memory, and the array behind it where that is the CPU's.

        ONNX Runtime does not own the memory of a value made from an array: the caller keeps both.
        """
        if self.memory == "cpu":
            array = np.zeros(shape, dtype)  # pages that are never touched are never taken
            return ort.OrtValue.ortvalue_from_numpy(array), array
        value = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self.memory, 0)
        value.update_inplace(np.zeros(shape, dtype))
        return value, None


def _gpu_answers() -> bool:
    """Whether the GPU answers: that a provider is listed says only that this ONNX Runtime was built with it."""
    try:
        ort.OrtValue.ortvalue_from_shape_and_type([1], np.float32, "cuda", 0)
    except Exception:  # ONNX Runtime's exceptions share no base class
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
