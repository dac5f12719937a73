"""The four networks of a bundle, each loaded when it is first used."""

from collections.abc import Callable
from dataclasses import replace
from threading import RLock
from typing import Any, TypeVar

from ..model.bundle import QUANTIZE_CACHE, SAMPLER, STAGES, STEP, TOP_K_TOP_P, Bundle, CausalPrecision, Sizes
from ..model.sizes import TransformerSize
from ..model.vocabulary import CausalStage, Vocabulary
from .codec import CodecDecoder
from .decoder import CausalDecoder, Decoder
from .device import Device
from .fine import FINE_INPUTS, FineModel
from .sampler import FineSamplerGraph, SamplerGraph
from .split_decoder import SplitDecoder
from .tensorrt import engine_directory, fine_profile
from .tensorrt_decoder import TensorRTDecoder

T = TypeVar("T")


class Networks:
    """The networks of a bundle on a device.

    Threads that share them must hold `lock` while they run a graph.

    Args:
        low_memory: keep at most one network in memory. To ask for one unloads the others.
    """

    def __init__(self, bundle: Bundle, device: Device, *, low_memory: bool = False) -> None:
        self.bundle = bundle
        samples = device.samples and bundle.manifest.for_gpu  # other bundles have no graphs that sample
        self.device = replace(device, samples=samples, one_arena=not low_memory)
        self.low_memory = low_memory
        self.lock = RLock()
        self._loaded: dict[tuple[str, str], Any] = {}  # by stage and graph

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
        path, choices, device = self.bundle.graph(stage, part), self.vocabulary.choices(stage), self.device.at(stage)
        return self._get(stage, part, lambda: SamplerGraph(path, choices, device, top_k_top_p=top_k_top_p))

    @property
    def fine_sampler(self) -> FineSamplerGraph:
        """The graph that samples the fine model's logits; only if `device.samples`."""
        path, vocabulary, device = self.bundle.graph("fine", SAMPLER), self.vocabulary, self.device.at("fine")
        codebooks, codebook_size = vocabulary.fine_codebooks, vocabulary.codebook_size
        return self._get("fine", SAMPLER, lambda: FineSamplerGraph(path, codebooks, codebook_size, device))

    def load(self) -> None:
        """Load all four networks now, so that errors come early. Raises BundleError or DeviceError."""
        for stage in STAGES:
            self.network(stage)

    def release(self) -> None:
        """Say that no graph is needed for now: with `low_memory`, unload what is loaded."""
        if self.low_memory:
            self.close()

    def close(self) -> None:
        """Unload all networks. One that is asked for afterwards is loaded again."""
        with self.lock:
            self._loaded.clear()

    def _get(self, stage: str, graph: str, load: Callable[[], T]) -> T:
        with self.lock:
            if (stage, graph) not in self._loaded:
                if self.low_memory:
                    self._loaded = {key: value for key, value in self._loaded.items() if key[0] == stage}
                self._loaded[stage, graph] = load()
            found: T = self._loaded[stage, graph]
            return found

    def _open_causal(self, stage: CausalStage) -> Decoder:
        manifest, device, choices = self.bundle.manifest, self.device.at(stage), self.vocabulary.choices(stage)
        size: TransformerSize = getattr(manifest.sizes, stage)
        precision: CausalPrecision = getattr(manifest.precisions, stage)
        path = self.bundle.graph(stage)
        if precision.split:
            step, quantize_cache = (self.bundle.graph(stage, part) for part in (STEP, QUANTIZE_CACHE))
            return SplitDecoder(path, step, quantize_cache, size, choices, device)
        if device.name == "tensorrt":
            engines = engine_directory(self.bundle, stage)
            return TensorRTDecoder(path, size, choices, precision.kv_cache, device, engines)
        return CausalDecoder(path, size, choices, precision.kv_cache, device)

    def _open_fine(self) -> FineModel:
        vocabulary, profile = self.vocabulary, None
        if self.device.name == "tensorrt":
            half = self.bundle.manifest.precisions.fine.weights == "fp16"
            engines = engine_directory(self.bundle, "fine")
            frames, codebooks = vocabulary.fine_window, vocabulary.fine_codebooks
            profile = fine_profile(FINE_INPUTS[0], frames, codebooks, half=half, engines=engines)
        path, device = self.bundle.graph("fine"), self.device.at("fine")
        return FineModel(path, vocabulary.fine_codebooks, vocabulary.codebook_size, device, profile)

    def _open_codec(self) -> CodecDecoder:
        """TensorRT leaves the codec to CUDA, since its chunks have many lengths."""
        return CodecDecoder(self.bundle.graph("codec"), self.sizes.codec, self.device.at("codec"))
