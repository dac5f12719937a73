"""The four networks of a bundle, each loaded when it is first used.

Processes that fork: ONNX Runtime's threads exist only in the process that loaded a session, and to destroy the session
elsewhere waits for them for ever. So the networks of a child process are loaded again there, and its copies of the
parent's sessions are never destroyed.
"""

import ctypes
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import RLock
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakSet

from ..errors import BarkError, DeviceError, warn
from ..model.bundle import Bundle
from ..model.manifest import (
    BLOCK_WEIGHTS,
    QUANTIZE_CACHE,
    SAMPLER,
    STAGES,
    STEP,
    TOP_K_TOP_P,
    CausalPrecision,
    Sizes,
)
from ..model.sizes import TransformerSize
from ..model.vocabulary import CausalStage, Vocabulary
from . import cuda
from .cache import KVCache
from .causal_graph import NO_BF16, TWO_CACHES, CausalGraph
from .codec import CodecDecoder
from .decoder import CausalDecoder, Decoder
from .device import CAPTURE, STREAM, Device
from .fine import FINE_INPUTS, FineModel
from .one_thread import OneThread
from .sampler import FineSamplerGraph, SamplerGraph
from .split_decoder import SplitDecoder
from .tensorrt import engine_directory, fine_profile
from .tensorrt_decoder import TensorRTDecoder

T = TypeVar("T")

NO_FP32 = (
    "ONNX Runtime's attention has no fp32 kernel for GPUs: export the bundle with --layout portable, or with "
    "--precision fp16"
)

log = logging.getLogger(__name__)

_all: "WeakSet[Networks]" = WeakSet()  # for the child of a fork


def choose_device(
    bundle: Bundle, name: str, threads: int | None = None, options: Mapping[str, str] | None = None
) -> Device:
    """The device with a name, for a bundle: see `Device.choose`. `auto` is a GPU for bundles that are made for GPUs.

    Raises DeviceError also for a bundle that the device cannot run. A warning says if it will be slow there.
    """
    manifest = bundle.manifest
    if manifest.int8_cache and isinstance(name, str) and name.lower().startswith(("cuda", "tensorrt")):
        raise DeviceError(_for_cpus(bundle))  # before anybody installs a GPU's libraries
    device = Device.choose(name, threads, auto_gpu=manifest.for_gpu, options=options)
    if manifest.kv_layout != "portable" and (device.name == "tensorrt" or device.plugin is not None):
        own = "TensorRT" if device.name == "tensorrt" else device.name
        raise DeviceError(f"{own} runs standard operators only: export the bundle with --layout portable")
    if device.memory == "cuda" and not manifest.for_gpu and manifest.precision != "fp32":  # which does not load
        warn(f"a bundle in {manifest.precision} is for CPUs: on a GPU it runs in part and slowly; export one in fp16")
    return device


def _for_cpus(bundle: Bundle) -> str:
    return f"a bundle in {bundle.manifest.precision} is for CPUs: export one with --precision fp16 for GPUs"


class Networks:
    """The networks of a bundle on a device.

    Threads that share them must hold `lock` while they run a graph.

    Args:
        low_memory: keep at most one network in memory. To ask for one unloads the others.

    Attributes:
        spare_caches: of each stage, the KV cache of an engine that is gone, kept where decode steps are recorded: its
            recordings are of its memory, and ONNX Runtime can forget none.

    Raises DeviceError for a bundle whose attention has no kernel on the device.
    """

    def __init__(self, bundle: Bundle, device: Device, *, low_memory: bool = False) -> None:
        if device.memory == "cuda" and bundle.manifest.int8_cache:
            raise DeviceError(_for_cpus(bundle))
        if device.memory == "cuda" and bundle.manifest.precision == "fp32" and not bundle.manifest.for_gpu:
            raise DeviceError(NO_FP32)
        self.bundle = bundle
        samples = device.samples and bundle.manifest.for_gpu  # other bundles have no graphs that sample
        device = replace(device.with_stream(), samples=samples, one_arena=not low_memory)
        self.device = replace(device, captures=_records(bundle, device, low_memory=low_memory))
        self.low_memory = low_memory
        self.lock = self._turns()
        self._one_thread = self._new_thread()
        self.spare_caches: dict[CausalStage, KVCache] = {}
        self._loaded: dict[tuple[str, str], Any] = {}  # by stage and graph
        self.closed = False
        self._used = False  # since they were loaded
        self._forked = False  # by a process that had used them
        _all.add(self)
        log.info("%s in %s runs on %s", bundle.manifest.model, bundle.manifest.precision, self.device.provider)

    @property
    def sizes(self) -> Sizes:
        return self.bundle.manifest.sizes

    @property
    def vocabulary(self) -> Vocabulary:
        return self.bundle.manifest.vocabulary

    @property
    def semantic(self) -> Decoder:
        return self.causal("semantic")

    @property
    def coarse(self) -> Decoder:
        return self.causal("coarse")

    @property
    def fine(self) -> FineModel:
        return self._get("fine", "network", self._open_fine)

    @property
    def codec(self) -> CodecDecoder:
        return self._get("codec", "network", self._open_codec)

    def causal(self, stage: CausalStage) -> Decoder:
        """The semantic or the coarse network."""
        return self._get(stage, "network", lambda: self._open_causal(stage))

    def network(self, stage: str) -> Decoder | FineModel | CodecDecoder:
        """The network of any stage."""
        if stage == "fine":
            return self.fine
        if stage == "codec":
            return self.codec
        return self.causal("semantic" if stage == "semantic" else "coarse")

    def sampler(self, stage: CausalStage, *, top_k_top_p: bool) -> SamplerGraph:
        """The graph that samples a causal network's logits; only if `device.samples`."""
        part = TOP_K_TOP_P if top_k_top_p else SAMPLER
        path, choices, device = self.bundle.graph(stage, part), self.vocabulary.choices(stage), self.device
        return self._get(stage, part, lambda: SamplerGraph(path, choices, device, top_k_top_p=top_k_top_p))

    @property
    def fine_sampler(self) -> FineSamplerGraph:
        """The graph that samples the fine model's logits; only if `device.samples`."""
        path, vocabulary, device = self.bundle.graph("fine", SAMPLER), self.vocabulary, self.device
        codebooks, codebook_size = vocabulary.fine_codebooks, vocabulary.codebook_size
        return self._get("fine", SAMPLER, lambda: FineSamplerGraph(path, codebooks, codebook_size, device))

    def run(self, work: Callable[[], T]) -> T:
        """Do work that runs graphs: where steps are recorded, always in the same thread.

        ONNX Runtime keeps recordings, and the handles and workspaces of CUDA's libraries, for each thread that runs a
        session. The caller holds `lock`, so the work must not ask for it.
        """
        return work() if self._one_thread is None else self._one_thread.run(work)

    def load(self) -> None:
        """Load all four networks now, so that errors come early. Raises BundleError or DeviceError."""
        # ONNX Runtime reorders the codec's weights and frees the first copy of them, 35 MB. The networks that are
        # loaded after it use that memory again.
        for stage in reversed(STAGES):
            self.network(stage)
        self._used = False

    def release(self) -> None:
        """Say that no graph is needed for now: with `low_memory`, unload what is loaded."""
        if self.low_memory:
            with self.lock:
                self._loaded.clear()

    def close(self) -> None:
        """Unload all networks, for good."""
        with self.lock:
            self.closed = True
            self.spare_caches.clear()
            self._loaded.clear()
        if self._one_thread is not None:
            self._one_thread.close()

    def check_open(self) -> None:
        """Raise BarkError if the networks have been closed, or are those of another process."""
        if self.closed:
            raise BarkError("this Bark is closed: load the bundle again")
        if self._forked:
            raise BarkError(
                "this Bark was used before its process forked: call Bark.load in the new process, "
                "or start processes by spawn"
            )

    def after_fork(self) -> None:
        """Called in the child of a fork, before anything else runs there."""
        self.lock = self._turns()  # another thread of the parent may have held it
        self._one_thread = self._new_thread()
        for network in self._loaded.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(network))  # see the top of this file
        self._loaded = {}
        self._forked = self._used

    def _turns(self) -> RLock:
        """The lock of these networks: on a GPU that of everything that uses one."""
        return RLock() if self.device.memory == "cpu" else cuda.TURNS

    def _new_thread(self) -> OneThread | None:
        """The thread that runs all graphs, where steps are recorded."""
        return OneThread("bark-onnx GPU") if self.device.captures else None

    def _get(self, stage: str, graph: str, load: Callable[[], T]) -> T:
        with self.lock:
            self.check_open()
            self._used = True
            if (stage, graph) not in self._loaded:
                if self.low_memory:
                    self._unload_others(stage)
                start = perf_counter()
                self._loaded[stage, graph] = load()
                log.info("%s %s loaded in %.2f s", stage, graph, perf_counter() - start)
            found: T = self._loaded[stage, graph]
            return found

    def _unload_others(self, stage: str) -> None:
        others = {loaded for loaded, _ in self._loaded} - {stage}
        if others:
            log.info("%s unloaded", ", ".join(sorted(others)))
        self._loaded = {key: value for key, value in self._loaded.items() if key[0] == stage}

    def _open_causal(self, stage: CausalStage) -> Decoder:
        manifest, device, choices = self.bundle.manifest, self.device, self.vocabulary.choices(stage)
        size: TransformerSize = getattr(manifest.sizes, stage)
        precision: CausalPrecision = getattr(manifest.precisions, stage)
        path = self.bundle.graph(stage)
        pairs = device.memory == "cpu" and precision.weights in BLOCK_WEIGHTS
        if precision.kv_cache == "int8":
            if precision.split:
                step = self.bundle.graph(stage, STEP)
                pairs = set(manifest.matrices.get(step.name, {}).values()) != {"int8"}
                prompts = CausalGraph(path, size, choices, ("fp32",), device)
                steps = CausalGraph(step, size, choices, ("int8",), device)
            else:
                prompts = steps = CausalGraph(path, size, choices, TWO_CACHES, device)
            return SplitDecoder(
                CausalDecoder(prompts, "fp32"),
                CausalDecoder(steps, "int8", pairs=pairs),
                self.bundle.graph(stage, QUANTIZE_CACHE),
            )
        if device.name == "tensorrt":
            prompt, engines = self.vocabulary.longest_prompt(stage), engine_directory(self.bundle, stage)
            return TensorRTDecoder(path, size, choices, precision.kv_cache, device, prompt, engines)
        graph = CausalGraph(path, size, choices, (precision.kv_cache,), device)
        return CausalDecoder(graph, precision.kv_cache, pairs=pairs)

    def _open_fine(self) -> FineModel:
        vocabulary, profile = self.vocabulary, None
        if self.bundle.manifest.precisions.fine.weights == "bf16" and self.device.name == "cpu":
            raise DeviceError(NO_BF16)
        if self.device.name == "tensorrt":
            half = self.bundle.manifest.precisions.fine.weights == "fp16"
            engines = engine_directory(self.bundle, "fine")
            frames, codebooks = vocabulary.fine_window, vocabulary.fine_codebooks
            profile = fine_profile(FINE_INPUTS[0], frames, codebooks, half=half, engines=engines)
        path, device = self.bundle.graph("fine"), self.device
        return FineModel(path, vocabulary.fine_codebooks, vocabulary.codebook_size, device, profile)

    def _open_codec(self) -> CodecDecoder:
        """TensorRT leaves the codec to CUDA, since its chunks have many lengths."""
        return CodecDecoder(self.bundle.graph("codec"), self.sizes.codec, self.device)


def _records(bundle: Bundle, device: Device, *, low_memory: bool) -> bool:
    """Whether decode steps are recorded.

    They are unless the caller's options say otherwise. In the portable layout they are if the options say so. Networks
    that are unloaded after each stage would lose their recordings. A stream of the caller's may not allow it.
    """
    if device.name != "cuda" or not device.samples or low_memory or STREAM in device.options:
        return False
    asked = device.options.get(CAPTURE)
    return bundle.manifest.kv_layout == "static" if asked is None else asked.lower() in ("1", "true")


def _after_fork() -> None:
    for networks in tuple(_all):
        networks.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
