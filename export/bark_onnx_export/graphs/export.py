"""Write the graphs of a bundle, stage by stage."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx

from bark_onnx.checks.quality import LIMITS
from bark_onnx.model.manifest import (
    CAUSAL_STAGES,
    GPU_PRECISIONS,
    QUANTIZE_CACHE,
    SAMPLER,
    STEP,
    TOP_K_TOP_P,
    CausalPrecision,
    GraphPrecision,
    graph_file,
)
from bark_onnx.model.sizes import CodecSize, TransformerSize
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset

from ..modules.build import build_module
from ..modules.causal import CacheQuantizer, CausalModule
from ..modules.codec import CodecModule
from ..modules.fine import FineModule
from ..quantization.cache import CACHE_STEP, with_even_cache
from ..quantization.choice import rounded_matrices
from ..quantization.passes import Passes, matrices
from ..quantization.precision import FORMS, cast_tensors, precisions
from ..quantization.prompts import prompts
from ..quantization.rounding import Rounded
from ..quantization.smoothing import smoothed
from ..weights.weights import Weights
from .int8_cache import add_int8_cache, to_int8_cache
from .networks import (
    cache_quantizer_graph,
    causal_graph,
    codec_graph,
    fine_graph,
    fine_sampler_graph,
    sampler_graph,
)
from .onnx_files import check_portable, save_model
from .quantize import quantize
from .skip_norm import fuse_skip_norms
from .tracing import Tracing, export_graph

# The share of a precision's limit of the KL divergence that the choice of formats may use up. The rest is for what is
# quantised at run time, and for speech that is not in the calibration.
BUDGET = 0.5


def export_stage(
    stage: str,
    weights: Weights,
    directory: Path,
    vocabulary: Vocabulary,
    voices: Sequence[VoicePreset],
    *,
    precision: str,
    kv_layout: str,
) -> dict[str, dict[str, str]]:
    """Write the graphs of a stage into a directory. The codec is always fp32.

    Args:
        voices: the voices on which a quantised transformer is calibrated.

    Returns:
        For each graph whose matrices have formats of their own, by file name: the format of each matrix by name.

    Raises:
        BarkError: the KV layout is `portable`, and a graph has an operator that is not standard ONNX.
    """
    own, target = getattr(precisions(precision, kv_layout), stage), directory / graph_file(stage)
    scratch = directory / "scratch"
    scratch.mkdir()
    try:
        if own.weights in FORMS:
            assert isinstance(weights.size, TransformerSize)
            calibration = calibration_passes(stage, weights, voices, vocabulary)
            smooth = smoothed(weights, calibration)
            calibration = calibration_passes(stage, smooth, voices, vocabulary)
            if isinstance(own, CausalPrecision) and own.kv_cache == "int8":
                smooth = with_even_cache(smooth, calibration)
                calibration = calibration_passes(stage, smooth, voices, vocabulary)
            traced = _trace(stage, smooth, scratch, vocabulary, precision, kv_layout)
            chosen = _quantize_stage(calibration, traced, target, own, weights.size, portable=kv_layout == "portable")
        else:
            save_model(onnx.load(_trace(stage, weights, scratch, vocabulary, precision, kv_layout)), target)
            chosen = {}
    finally:
        shutil.rmtree(scratch)
    if kv_layout == "portable":
        check_portable(target)
    return chosen


def calibration_passes(stage: str, weights: Weights, voices: Sequence[VoicePreset], vocabulary: Vocabulary) -> Passes:
    """Run a transformer over calibration prompts that are made from voices."""
    module = build_module(stage, weights, vocabulary)
    assert isinstance(weights.size, TransformerSize)
    assert not isinstance(module, CodecModule)
    return Passes(module, prompts(stage, weights.size, voices, vocabulary))


def _trace(stage: str, weights: Weights, scratch: Path, vocabulary: Vocabulary, precision: str, kv_layout: str) -> Path:
    """Write the stage's graph without quantised matrices to the directory `scratch`."""
    if stage != "codec":
        weights = Weights(weights.size, cast_tensors(weights.tensors, precision))
    path = scratch / graph_file(stage)
    export_graph(_graph(build_module(stage, weights, vocabulary, kv_layout), weights.size), path)
    if stage != "codec" and kv_layout == "static" and precision in GPU_PRECISIONS:
        fuse_skip_norms(path)
    return path


def _quantize_stage(
    calibration: Passes, traced: Path, target: Path, own: CausalPrecision | GraphPrecision, size: TransformerSize,
    *, portable: bool,
) -> dict[str, dict[str, str]]:  # fmt: skip
    """Write the graphs of a stage with quantised matrices, and return the formats that were chosen."""
    names, chosen = list(matrices(calibration.module)), {}

    def rounded(form: str, path: Path) -> dict[str, Rounded]:
        forms = FORMS[form]
        found = rounded_matrices(calibration, forms, BUDGET * LIMITS[form.partition("-")[0]]["kl"])
        if forms.wide is not None:
            chosen[path.name] = {name: matrix.form.name for name, matrix in found.items()}
        return found

    found = rounded(own.weights, target)
    if not isinstance(own, CausalPrecision) or own.kv_cache != "int8":
        quantize(traced, target, names, found, portable=portable)
        return chosen
    if own.split:
        quantize(traced, target, names, found)
        step = target.with_suffix(f".{STEP}.onnx")
        quantize(traced, step, names, rounded(own.step_weights, step), beside=target, change=to_int8_cache)
    else:
        quantize(traced, target, names, found, change=add_int8_cache)
    quantizer = cache_quantizer_graph(CacheQuantizer(CACHE_STEP), size)
    target.with_suffix(f".{QUANTIZE_CACHE}.onnx").write_bytes(quantizer)
    return chosen


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
