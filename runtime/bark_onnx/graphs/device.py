"""The device that graphs run on: an execution provider and its options. The one place where a provider is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import onnxruntime as ort

from ..errors import DeviceError, how_to_install, warn
from ..numbers import whole
from .cores import MOST_THREADS, default_threads, usable_cpus
from .cuda import load_tensorrt, why_no_gpu
from .plugin import plugin_device, short_name
from .stream import Stream
from .tensorrt import EngineProfile

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
_REMOTE = "AzureExecutionProvider"  # is in every build, and runs no graph here: it sends requests to a service
CAPTURE, STREAM = "enable_cuda_graph", "user_compute_stream"  # ONNX Runtime's names

# What differs from ONNX Runtime's defaults; a caller's options override it.
_CUDA_OPTIONS = {
    "use_tf32": "0",  # fp32 products are exact
    "arena_extend_strategy": "kSameAsRequested",  # memory grows by the size requested
    # Flash and memory-efficient attention only (1 + 2). From compute capability 9 on, cuDNN's attention would come
    # first, which makes a plan for every new length of a prompt. Decode steps keep their own kernel.
    "sdpa_kernel": "3",
    # cuDNN guesses the algorithm of a convolution. By default it tries all of them, for every new length of a chunk.
    "cudnn_conv_algo_search": "HEURISTIC",
}

_NEEDS = "check the GPU's driver, and the CUDA and cuDNN libraries that the extra gpu installs"

Providers: TypeAlias = list[tuple[str, dict[str, str]]]


@dataclass(frozen=True)
class Device:
    """A chosen execution provider.

    Args:
        name: `cpu`, `cuda`, `tensorrt`, or another provider's name in ONNX Runtime.
        threads: threads of one graph run on the CPU; None leaves the number to ONNX Runtime.
        index: the number of the GPU.
        options: the provider's own options, by the provider's names; they override ours. Names that begin with `ep.`
            are entries of a session's configuration (see `session_entries`).
        samples: whether tokens are sampled on the device, by the bundle's sampler graphs, or else on the host.
        one_arena: whether sessions share one memory arena on the CPU. A session with an arena of its own frees it
            when it is unloaded.
        stream: the stream that sessions on CUDA share; without it, each run waits until the GPU is done.
        captures: whether decode steps are recorded as CUDA graphs and replayed.
        plugin: the device in ONNX Runtime's terms (OrtEpDevice), if a plugin has it.
    """

    name: str
    threads: int | None = None
    index: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    samples: bool = False
    one_arena: bool = True
    stream: Stream | None = field(default=None, compare=False, repr=False)
    captures: bool = False
    plugin: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def choose(
        cls,
        name: str = "auto",
        threads: int | None = None,
        *,
        auto_gpu: bool = True,
        options: Mapping[str, str] | None = None,
    ) -> "Device":
        """The device with a name: `auto`, `cpu`, `cuda`, `cuda:1`, `tensorrt`, or any provider of this ONNX Runtime.

        `openvino=PATH` and `openvino:1=PATH` are devices of a plugin, whose library is at the path.

        `auto` is CUDA if `auto_gpu` allows it and CUDA loads, else the CPU. Where CUDA is built in but does not load,
        a warning says why. Without `threads`, it is one on a GPU, else `default_threads`.

        Raises DeviceError for a device that is unknown or unavailable.
        """
        if not isinstance(name, str):
            raise DeviceError(f"device must be a name such as 'cpu', not {type(name).__name__}")
        if not isinstance(options, Mapping | None):
            raise DeviceError(f"provider_options must be a dictionary of strings, not {type(options).__name__}")
        if threads is not None:
            threads = _checked_threads(threads)
        name, plugin, library = name.partition("=")
        if plugin:
            base, index = _split(name)
            found = plugin_device(base, index, library)
            return cls(found.ep_name, threads or default_threads(), index, dict(options or {}), plugin=found)
        available = ort.get_available_providers()
        if name == "auto":
            name = "cuda" if auto_gpu and CUDA in available and _cuda_works() else "cpu"
        base, index = _parse(name)
        provider = _PROVIDERS.get(base, base)
        if provider not in available:
            extra = "tensorrt" if provider == TENSORRT else "gpu"
            advice = f"{how_to_install(extra)} without the extra cpu, or " if provider in (CUDA, TENSORRT) else ""
            raise DeviceError(
                f"device {name!r} needs {provider}, which this ONNX Runtime ({ort.__version__}) does not have; "
                f"{advice}use device 'cpu'"
            )
        if provider == TENSORRT:
            load_tensorrt()
        if provider in (CUDA, TENSORRT) and (why := why_no_gpu(index)):
            raise DeviceError(
                f"device {name!r}: {provider} is installed but does not load here ({why}); {_NEEDS}, "
                "or use device 'cpu'"
            )
        on_gpu = provider in (CUDA, TENSORRT)
        if threads is None:
            threads = 1 if on_gpu else default_threads()  # the host of a GPU computes nothing that threads could share
        return cls(base, threads, index, dict(options or {}), samples=on_gpu)

    @property
    def provider(self) -> str:
        """The execution provider's name."""
        return _PROVIDERS.get(self.name, self.name)

    @property
    def memory(self) -> str:
        """ONNX Runtime's name of the memory that tensors stay in between runs."""
        return "cuda" if self.name in ("cuda", "tensorrt") else "cpu"

    @property
    def session_entries(self) -> dict[str, str]:
        """The options that ONNX Runtime takes from a session's configuration, such as `ep.cuda.fpa_intb_gemm`."""
        return {name: value for name, value in self.options.items() if name.startswith("ep.")}

    def with_stream(self) -> "Device":
        """The same with a stream for the sessions of one bundle, if they run on CUDA: the caller's, or a new one."""
        if self.name != "cuda":
            return self
        given = self.options.get(STREAM)
        if given is not None and not (given.isascii() and given.isdecimal()):
            raise DeviceError(f"{STREAM} must be the address of a CUDA stream as a number, not {given!r:.40}")
        return replace(self, stream=Stream(self.index, None if given is None else int(given)))

    def wait(self) -> None:
        """Wait until the GPU has done the runs that were not waited for. Raises DeviceError for what failed there."""
        if self.stream is not None:
            self.stream.wait()

    def providers(self, profile: EngineProfile | None, *, captures: bool = False) -> Providers:
        """The providers of a session: this one first, then those that run the operators that it does not support.

        Args:
            profile: the graph's profile for TensorRT; None for a graph that TensorRT does not run.
            captures: whether some of the graph's runs are recorded and replayed.
        """
        index = {"device_id": str(self.index)}
        own = {name: value for name, value in self.options.items() if name not in self.session_entries}
        cpu: Providers = [(CPU, {})]
        if self.name == "cuda":
            stream = {} if self.stream is None else {STREAM: str(self.stream.handle)}
            capture = {CAPTURE: str(int(captures))}  # a graph whose shapes change from run to run cannot be replayed
            return [(CUDA, {**_CUDA_OPTIONS, **index, **own, **stream, **capture}), *cpu]
        if self.name == "tensorrt":
            cuda: Providers = [(CUDA, {**_CUDA_OPTIONS, **index}), *cpu]
            return cuda if profile is None else [(TENSORRT, {**profile.options(), **index, **own}), *cuda]
        return [(self.provider, own)] if self.provider == CPU else [(self.provider, own), *cpu]


def _parse(name: str) -> tuple[str, int]:
    """`cuda:1` -> (`cuda`, 1)."""
    if name.partition(":")[0] in _PROVIDERS:
        return _split(name)
    known: list[str] = ort.get_all_providers()
    for provider in known:
        if provider != _REMOTE and name.lower() in (provider.lower(), short_name(provider)):
            return next((own for own, theirs in _PROVIDERS.items() if theirs == provider), provider), 0
    here = ort.get_available_providers()
    own = [short for short, provider in _PROVIDERS.items() if provider in here]
    others = [short_name(p) for p in here if p not in (*_PROVIDERS.values(), _REMOTE)]
    gpu = "" if CUDA in here else f"; for cuda and tensorrt, {how_to_install('gpu')} without the extra cpu"
    raise DeviceError(f"unknown device {name!r:.40}: this ONNX Runtime has {', '.join(['auto', *own, *others])}{gpu}")


def _split(name: str) -> tuple[str, int]:
    """The name and the number of a device that may be one of several."""
    base, colon, number = name.partition(":")
    if colon and base == "cpu":
        raise DeviceError(f"device {name!r}: there is one CPU")
    if colon and not (number.isascii() and number.isdecimal() and len(number) < 4):
        raise DeviceError(f"device {name!r}: {base}:0 is the first {'GPU' if base in _PROVIDERS else 'device'}")
    return base, int(number or 0)


def _cuda_works() -> bool:
    """Whether CUDA loads; if not, a warning says why."""
    if why := why_no_gpu():
        warn(f"device 'auto' is the CPU, because CUDA does not load here ({why}); {_NEEDS}")
    return why is None


def _checked_threads(threads: object) -> int:
    """A caller's number of threads. More than the process has CPUs for are slow, which a warning says."""
    number = whole("threads", threads)
    if not 1 <= number <= MOST_THREADS:
        raise DeviceError(f"threads must be from 1 to {MOST_THREADS}, not {number}")
    if number > (cpus := usable_cpus()):
        on = f"{cpus} CPU{'s' * (cpus > 1)}"
        warn(f"{number} threads on {on} are slower than {cpus}: leave the number out, or give at most {cpus}")
    return number
