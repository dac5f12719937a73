"""Where graphs run: execution providers, session options and threads. The one place where a provider is chosen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .errors import BundleError, DeviceError, reason

DEVICES = ("auto", "cpu", "cuda", "tensorrt")

_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}

Shapes = Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]]
"""Of each input or output of a graph: its type and its axes, None where an axis is free."""


@dataclass(frozen=True)
class Device:
    """A chosen execution provider. `threads` are those of one graph run; None leaves the number to ONNX Runtime."""

    name: str
    threads: int | None = None

    @classmethod
    def choose(cls, name: str = "auto", threads: int | None = None, *, auto_gpu: bool = True) -> "Device":
        """`auto` is CUDA where it loads and `auto_gpu` allows it, else the CPU.

        Raises DeviceError for a device that is not to be had.
        """
        if threads is not None and not 1 <= threads <= 1024:
            raise DeviceError(f"threads must be from 1 to 1024, not {threads}")
        available = ort.get_available_providers()
        if name == "auto":
            name = "cuda" if auto_gpu and "CUDAExecutionProvider" in available and _gpu_answers() else "cpu"
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

    def zeros(self, shape: tuple[int, ...], dtype: type[np.generic]) -> "Memory":
        """Zeros in the device's memory.

        On the CPU, pages that are never touched are never taken. One large block has numpy ask for huge pages: reading
        a KV cache of 75 MB at every step misses the TLB far less often.
        """
        if self.memory == "cpu":
            return Memory.of(np.zeros(shape, dtype))
        value = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self.memory, 0)
        value.update_inplace(np.zeros(shape, dtype))
        return Memory(value.data_ptr(), shape, dtype, self.memory, value)


@dataclass(frozen=True)
class Memory:
    """A tensor where it lies: what a graph reads or writes in place. `owner` keeps it there."""

    pointer: int
    shape: tuple[int, ...]
    dtype: type[np.generic]
    memory: str
    owner: Any = field(repr=False)

    @classmethod
    def of(cls, array: NDArray[Any]) -> "Memory":
        """A numpy array's memory; the array is contiguous."""
        return cls(array.ctypes.data, array.shape, array.dtype.type, "cpu", array)

    def __getitem__(self, place: tuple[int, range]) -> "Memory":
        """`self[n, rows]`: some rows of the nth part, which lie together."""
        part, rows = place
        row_bytes = math.prod(self.shape[2:]) * np.dtype(self.dtype).itemsize
        start = self.pointer + (part * self.shape[1] + rows.start) * row_bytes
        return Memory(start, (len(rows), *self.shape[2:]), self.dtype, self.memory, self.owner)


class Graph:
    """One loaded graph. What goes wrong in it is a BundleError that names its file.

    Args:
        inputs, outputs: what the graph must take and return, exactly.
    """

    def __init__(self, path: Path, device: Device, inputs: Shapes, outputs: Shapes) -> None:
        self.name = path.name
        options = ort.SessionOptions()
        options.intra_op_num_threads = device.threads or 0
        options.log_severity_level = 4  # what goes wrong is raised; nothing is printed beside it
        try:
            self._session = ort.InferenceSession(path, options, providers=_PROVIDERS[device.name])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(
                f"ONNX Runtime {ort.__version__} cannot load {path.name} ({reason(error)}): export the bundle again"
            ) from None
        if self._session.get_providers()[0] != _PROVIDERS[device.name][0]:
            raise DeviceError(
                f"device {device.name!r}: {_PROVIDERS[device.name][0]} did not start; are its libraries installed?"
            )
        problems = _differences(self._session.get_inputs(), inputs) + _differences(self._session.get_outputs(), outputs)
        if problems:
            raise BundleError(f"{path.name} is not the graph that the manifest describes: {'; '.join(problems)}")

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Any:
        """The first output for these inputs."""
        try:
            return self._session.run(None, inputs)[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise self._failure(error) from None

    def bind(self, inputs: Mapping[str, Memory], outputs: Mapping[str, Memory]) -> ort.IOBinding:
        """Inputs and outputs in memory of the caller's, who keeps it."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_input(name, value.memory, 0, value.dtype, value.shape, value.pointer)
        for name, value in outputs.items():
            binding.bind_output(name, value.memory, 0, value.dtype, value.shape, value.pointer)
        return binding

    def run_bound(self, binding: ort.IOBinding) -> None:
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> BundleError:
        return BundleError(f"{self.name} failed while it ran: {reason(error)}")


def _differences(nodes: list[ort.NodeArg], expected: Shapes) -> list[str]:
    """How the declared inputs or outputs of a graph differ from what they must be."""
    found = {node.name: node for node in nodes}
    problems = [f"no {name}" for name in expected if name not in found]
    problems += [f"unexpected {name}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        (dtype, shape), node = expected[name], found[name]
        sizes = [want for want, has in zip(shape, node.shape, strict=False) if want is not None and want != has]
        if node.type != _ONNX_TYPES[dtype] or len(node.shape) != len(shape) or sizes:
            problems.append(f"{name} is {node.type} {node.shape} instead of {_ONNX_TYPES[dtype]} {list(shape)}")
    return sorted(problems)


_ONNX_TYPES: dict[type[np.generic], str] = {
    np.bool_: "tensor(bool)",
    np.int32: "tensor(int32)",
    np.int64: "tensor(int64)",
    np.float16: "tensor(float16)",
    np.float32: "tensor(float)",
}


def _gpu_answers() -> bool:
    """Whether the GPU takes an allocation: that a provider is listed says only that it was built in."""
    try:
        ort.OrtValue.ortvalue_from_shape_and_type([1], np.float32, "cuda", 0)
    except Exception:  # ONNX Runtime's exceptions share no base class
        return False
    return True
