"""Sessions of ONNX Runtime: graphs that are loaded, checked and run in memory of the caller's."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import (
    LESS_MEMORY,
    BarkError,
    BundleError,
    DeviceError,
    OutOfMemory,
    how_to_install,
    is_out_of_memory,
    reason,
    warn,
)
from .cuda import failure
from .device import CAPTURE, CPU, Device
from .memory import BFLOAT16, Memory
from .tensorrt import EngineProfile

Shapes: TypeAlias = Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]]
"""The type and the axes of each input or output of a graph; None is an axis of any length."""

# ONNX Runtime's exceptions for a file that is missing, or is not a graph.
_FILE_ERRORS = ("InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")

LISTED = 8  # differences of a graph that an error names; a KV cache of another type differs in each of its tensors

MOST_RECORDINGS = 512
"""Recorded runs of one graph. ONNX Runtime keeps each of them until the session is gone. A KV cache of 1024 rows has 88
in its decoder's graph."""

NO_RECORDING = f"; if it is the recording that fails, turn it off: --provider-option {CAPTURE}=0"

# Microseconds for which a session's threads wait busily for the next run. Sampling a token takes less, and waking the
# threads would cost more. ONNX Runtime's default of about 20 ms takes every core from the session that runs next.
SPIN = 1000

# ONNX Runtime reads this variable when it creates a session on the CPU (GroupQueryAttention). It is set for libraries
# only (putenv): `os.environ` keeps the user's own setting, and threads that copy it meanwhile see no change.
_NO_FLASH = "ORT_GQA_DISABLE_FLASH_ATTENTION"
_creating = Lock()  # held while a session is created, so that each sees the variable as it was set for it


def _forget_creation() -> None:
    """In the child of a fork, no thread is left that could release the lock and remove the variable."""
    global _creating
    _creating = Lock()
    if _NO_FLASH not in os.environ:
        os.unsetenv(_NO_FLASH)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_creation)


@dataclass(frozen=True)
class Binding:
    """A run of a graph whose inputs and outputs are in memory of the caller's. `keeps` holds that memory."""

    graph: "Graph"
    values: ort.IOBinding
    options: ort.RunOptions | None
    keeps: list[Any]

    def run(self) -> None:
        """Run the graph once. Raises BundleError, DeviceError or OutOfMemory."""
        self.graph.run_bound(self)


class Graph:
    """One loaded graph. A run that fails raises a BundleError, on other devices than the CPU a DeviceError, or
    OutOfMemory; each names the graph's file.

    Args:
        inputs, outputs: exactly the inputs and outputs that the graph must have.
        profile: what TensorRT builds an engine for, if it is the device; None runs the graph on CUDA there.
        repeated: some bindings of this graph are run again and again, and CUDA may record and replay them.
        causal: whether the graph's attention has a KV cache. On a CPU it is not flash attention then, which goes
            through the keys in blocks. Their products are too small to be fast: a prefill of 257 to 887 positions of
            bark-small takes 0.79 to 0.88 of the time without it (in pieces of at most 256, on two cores). And with more
            threads than rows times heads, the threads share the blocks of a head and add up their results in another
            order: a sequence would have other logits alone than beside others.
    """

    def __init__(
        self, path: Path, device: Device, inputs: Shapes, outputs: Shapes, profile: EngineProfile | None = None,
        *, repeated: bool = False, causal: bool = False,
    ) -> None:  # fmt: skip
        self.name = path.name
        self._device = device
        self._captures = device.captures and repeated
        self._recordings, self._full = 0, False
        providers = device.providers(profile, captures=self._captures)
        options = ort.SessionOptions()
        options.intra_op_num_threads = device.threads or 0
        options.log_severity_level = 4  # errors are raised, so nothing needs to be printed
        # With a memory pattern, the second run of a shape allocates one block for all its tensors, beside the blocks
        # that the first run left in the arena: 44 MB more for a fine pass of bark-small. On a CPU no run was faster.
        options.enable_mem_pattern = device.memory != "cpu"
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN))
        for name, value in device.session_entries.items():
            options.add_session_config_entry(name, value)
        arena = device.one_arena and device.memory == "cpu"
        _process.add(self, arena=arena)
        if arena:
            options.add_session_config_entry("session.use_env_allocators", "1")
        if device.plugin is not None:
            options.add_provider_for_devices([device.plugin], providers[0][1])
        try:
            # With ONNX Runtime's fallback, a failure would be printed to standard output, and another one be raised.
            given = None if device.plugin is not None else providers
            with _no_flash() if causal else contextlib.nullcontext():
                self._session = ort.InferenceSession(path, options, providers=given, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise _cannot_load(path, device, error, captures=self._captures) from None
        if self._session.get_providers()[0] != providers[0][0]:
            advice = f" For TensorRT's, {how_to_install('tensorrt')}" if device.name == "tensorrt" else ""
            raise DeviceError(
                f"device {device.name!r}: {providers[0][0]} did not start; are its libraries installed?{advice}"
            )
        problems = _differences(self._session.get_inputs(), inputs) + _differences(self._session.get_outputs(), outputs)
        if problems:
            more = f" and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
            listed = "; ".join(problems[:LISTED])
            raise BundleError(f"{path.name} is not the graph that the manifest describes: {listed}{more}")

    def __del__(self) -> None:
        if not sys.is_finalizing():  # the system takes all memory then
            self.__dict__.pop("_session", None)
            _process.remove(self)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Any:
        """The first output for these inputs."""
        try:
            return self._session.run(None, inputs, self._run_options(repeated=False))[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise self._failure(error) from None

    def bind(self, inputs: Mapping[str, Memory], outputs: Mapping[str, Memory], *, repeated: bool = False) -> Binding:
        """Bind memory to the inputs and outputs.

        Args:
            repeated: the binding is run often. All its memory is on the device, except inputs that are read there when
                a run begins. The runs are not waited for if the device has a stream: see `Device.wait`.
        """
        binding = self._session.io_binding()
        try:  # a provider with other memory than the host's copies inputs of the host here
            for name, value in inputs.items():
                binding.bind_input(name, value.memory, value.index, value.element, value.shape, value.pointer)
            for name, value in outputs.items():
                binding.bind_output(name, value.memory, value.index, value.element, value.shape, value.pointer)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise self._failure(error) from None
        return Binding(self, binding, self._run_options(repeated=repeated), [inputs, outputs])

    def _run_options(self, *, repeated: bool) -> ort.RunOptions | None:
        """Whether a run ends when the GPU is done, and the number of the recording that it makes or replays.

        The number is -1 for a run that is not recorded.
        """
        waits = self._device.stream is None or not repeated
        if waits and not self._captures:
            return None
        options = ort.RunOptions()
        if not waits:
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if self._captures:
            recorded = repeated and self._recordings < MOST_RECORDINGS
            options.add_run_config_entry("gpu_graph_id", str(self._recordings) if recorded else "-1")
            self._recordings += recorded
            if repeated and not recorded and not self._full:
                self._full = True
                warn(f"{self.name}: no more runs are recorded, after {MOST_RECORDINGS} in batches of many sizes")
        return options

    def run_bound(self, binding: Binding) -> None:
        """Run one of this graph's bindings; callers use `Binding.run`."""
        try:
            self._session.run_with_iobinding(binding.values, binding.options)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> BarkError:
        if is_out_of_memory(error):
            return OutOfMemory(f"not enough memory to run {self.name}: {LESS_MEMORY}")
        if self._device.provider != CPU:
            advice = NO_RECORDING if self._captures else ""
            return DeviceError(
                f"device {self._device.name!r}: {self.name} failed while it ran: {failure(error)}{advice}"
            )
        return BundleError(f"{self.name} failed while it ran: {reason(error)}")


@contextlib.contextmanager
def _no_flash() -> Iterator[None]:
    """A session that is created meanwhile has no flash attention on the CPU. A user's setting is left."""
    with _creating:
        if _NO_FLASH in os.environ:
            yield
            return
        try:
            os.putenv(_NO_FLASH, "1")
            yield
        finally:
            os.unsetenv(_NO_FLASH)


class _ProcessMemory:
    """What the sessions of this process share: ONNX Runtime's arena, so that sessions that run in turn use the same
    memory, and the heap of the C library.

    Both keep what sessions have freed, more than half of it. So it is returned when the last session is gone.
    """

    def __init__(self) -> None:
        self._graphs: set[int] = set()  # by id; a set changes in one step, whichever threads load and unload
        self._arena = False

    def add(self, graph: Graph, *, arena: bool) -> None:
        """Note that a graph gets a session, and whether it uses the arena."""
        self._graphs.add(id(graph))
        if arena and not self._arena:
            self._new_arena()

    def remove(self, graph: Graph) -> None:
        """Note that a graph's session is gone."""
        self._graphs.discard(id(graph))
        if not self._graphs:
            if self._arena:
                self._new_arena()
            if sys.platform == "linux":
                with contextlib.suppress(AttributeError, MemoryError):  # C libraries other than glibc lack this
                    ctypes.CDLL(None).malloc_trim(0)

    def _new_arena(self) -> None:
        """Register an arena. It replaces the one before, which is freed with the last session that uses it."""
        info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        with contextlib.suppress(Exception):  # sessions then use what another library of this process has registered
            ort.create_and_register_allocator(info, None)
        self._arena = True


_process = _ProcessMemory()


def _cannot_load(path: Path, device: Device, error: Exception, *, captures: bool) -> BarkError:
    """Return the error for a graph that does not load: the memory's, the options', the device's or the file's fault."""
    if is_out_of_memory(error):
        return OutOfMemory(f"not enough memory to load {path.name}: {LESS_MEMORY}")
    advice = NO_RECORDING if captures else ""
    if device.options:
        return DeviceError(f"{device.provider} does not start with these options: {failure(error)}{advice}")
    if device.provider != CPU and type(error).__name__ not in _FILE_ERRORS:
        return DeviceError(
            f"device {device.name!r}: {device.provider} cannot load {path.name} ({failure(error)}); check that its "
            f"libraries are installed, for CUDA those of the extra gpu, or use device 'cpu'{advice}"
        )
    return BundleError(
        f"ONNX Runtime {ort.__version__} cannot load {path.name} ({reason(error)}): export the bundle again"
    )


def _differences(nodes: list[ort.NodeArg], expected: Shapes) -> list[str]:
    """The differences between the inputs or outputs that a graph declares and those that it must have."""
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
    np.int8: "tensor(int8)",
    np.int32: "tensor(int32)",
    np.int64: "tensor(int64)",
    BFLOAT16: "tensor(bfloat16)",
    np.float16: "tensor(float16)",
    np.float32: "tensor(float)",
    np.float64: "tensor(double)",
}
