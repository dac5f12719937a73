"""Write the graphs of a bundle, stage by stage."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bark_onnx.model.bundle import (
    CAUSAL_STAGES,
    QUANTIZE_CACHE,
    SAMPLER,
    STEP,
    TOP_K_TOP_P,
    graph_file,
)
from bark_onnx.model.sizes import CodecSize, TransformerSize
from bark_onnx.model.vocabulary import CausalStage, Vocabulary
from bark_onnx.model.voice import VoicePreset

from ..modules.build import build_module
from ..modules.causal import CacheQuantizer, CausalModule
from ..modules.codec import CodecModule
from ..modules.fine import FineModule
from ..weights.weights import Weights
from .calibrate import cache_scales
from .networks import (
    cache_quantizer_graph,
    causal_graph,
    codec_graph,
    fine_graph,
    fine_sampler_graph,
    sampler_graph,
)
from .onnx_files import check_portable
from .precision import cast_tensors, precisions
from .quantize import quantize
from .tracing import Tracing, export_graph


def export_stage(
    stage: str,
    weights: Weights,
    directory: Path,
    vocabulary: Vocabulary,
    voices: Sequence[VoicePreset],
    *,
    precision: str,
    kv_layout: str,
) -> None:
    """Write the graphs of a stage into a directory. The codec is always fp32.

    Args:
        voices: the voices on which an 8-bit KV cache is calibrated.

    Raises:
        BarkError: the KV layout is `portable`, and a graph has an operator that is not standard ONNX.
    """
    size = weights.size
    if stage != "codec":
        weights = Weights(size, cast_tensors(weights.tensors, precision))
    module = build_module(stage, weights, vocabulary, kv_layout)
    own = getattr(precisions(precision), stage)
    scratch, target = directory / "scratch", directory / graph_file(stage)
    scratch.mkdir()
    try:
        export_graph(_graph(module, size), scratch / target.name)
        quantize(scratch / target.name, target, own.weights)
        if isinstance(module, CausalModule) and own.kv_cache == "int8":
            assert isinstance(size, TransformerSize)
            scales = cache_scales(module, cast(CausalStage, stage), voices, vocabulary)
            quantize(scratch / target.name, directory / graph_file(stage, STEP), own.step_weights, target, scales)
            quantizer = cache_quantizer_graph(CacheQuantizer(scales, size.heads), size)
            (directory / graph_file(stage, QUANTIZE_CACHE)).write_bytes(quantizer)
    finally:
        shutil.rmtree(scratch)
    if kv_layout == "portable":
        check_portable(target)


def _graph(module: CausalModule | FineModule | CodecModule, size: TransformerSize | CodecSize) -> Tracing:
    if isinstance(module, CausalModule):
        assert isinstance(size, TransformerSize)
        return causal_graph(module, size)
    return fine_graph(module) if isinstance(module, FineModule) else codec_graph(module)


def export_samplers(directory: Path, vocabulary: Vocabulary) -> None:
    """Write the graphs that sample into a directory. They have no weights, and compute in 64 bits."""
    for stage in CAUSAL_STAGES:
        choices, first_id = vocabulary.choices(stage), vocabulary.first_id(stage)
        for part in (SAMPLER, TOP_K_TOP_P):
            graph = sampler_graph(choices, first_id, top_k_top_p=part == TOP_K_TOP_P)
            (directory / graph_file(stage, part)).write_bytes(graph)
    fine = fine_sampler_graph(vocabulary.fine_codebooks, vocabulary.codebook_size)
    (directory / graph_file("fine", SAMPLER)).write_bytes(fine)
