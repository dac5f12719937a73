"""The networks of a bundle, loaded: all four, or one by one."""

from dataclasses import dataclass

from ..model.bundle import Bundle, CausalStage
from .decoder import CausalDecoder
from .device import Device
from .models import FINE_INPUTS, CodecDecoder, FineModel
from .resident import ResidentDecoder, ResidentFine
from .tensorrt import engine_directory, fine_profile


@dataclass(frozen=True)
class Networks:
    """The four networks of a bundle, loaded."""

    semantic: CausalDecoder
    coarse: CausalDecoder
    fine: FineModel
    codec: CodecDecoder


def open_networks(bundle: Bundle, device: Device) -> Networks:
    """Load all four."""
    return Networks(
        open_causal(bundle, "semantic", device),
        open_causal(bundle, "coarse", device),
        open_fine(bundle, device),
        open_codec(bundle, device),
    )


def open_causal(bundle: Bundle, stage: CausalStage, device: Device) -> CausalDecoder:
    """The causal decoder of a bundle's stage."""
    sizes, precisions, space = bundle.manifest.sizes, bundle.manifest.precisions, bundle.manifest.vocabulary
    size, precision, choices = {
        "semantic": (sizes.semantic, precisions.semantic, space.semantic_choices),
        "coarse": (sizes.coarse, precisions.coarse, space.coarse_choices),
    }[stage]
    engines = engine_directory(bundle, stage) if device.name == "tensorrt" else None
    steps = bundle.step_graphs(stage)
    arguments = (bundle.graph(stage), size, choices, precision.kv_cache, device, steps, engines)
    if not device.resident:
        return CausalDecoder(*arguments)
    samplers = bundle.sampler(stage), bundle.sampler(stage, ranked=True)
    return ResidentDecoder(samplers, 0 if stage == "semantic" else space.semantic_size, *arguments)


def open_fine(bundle: Bundle, device: Device) -> FineModel:
    """The fine model of a bundle."""
    space, profile = bundle.manifest.vocabulary, None
    if device.name == "tensorrt":
        half = bundle.manifest.precisions.fine.weights == "fp16"
        engines = engine_directory(bundle, "fine")
        profile = fine_profile(FINE_INPUTS[0], space.fine_window, space.fine_codebooks, half=half, engines=engines)
    arguments = (bundle.graph("fine"), space.fine_codebooks, space.codebook_size, device, profile)
    return ResidentFine(bundle.sampler("fine"), *arguments) if device.resident else FineModel(*arguments)


def open_codec(bundle: Bundle, device: Device) -> CodecDecoder:
    """The codec of a bundle. TensorRT leaves it to CUDA: its chunks have all lengths."""
    return CodecDecoder(bundle.graph("codec"), bundle.manifest.sizes.codec, device)
