"""Checkpoint to bundle: export and verify every network, write the manifest, then give the directory its name."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from bark_onnx.checks.compare import GraphError, table
from bark_onnx.errors import BarkError
from bark_onnx.model.bundle import (
    CAUSAL_STAGES,
    FORMAT_REVISION,
    GPU_PRECISIONS,
    MANIFEST,
    QUANTIZE_CACHE,
    SAMPLER,
    STAGES,
    STEP,
    TOKENIZER,
    TOP_K_TOP_P,
    VOICES,
    Bundle,
    Manifest,
    Sizes,
    graph_file,
    list_files,
)
from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset

from .assets import write_tokenizer, write_voices
from .calibrate import cache_scales
from .causal import CacheQuantizer, CausalModule
from .checkpoint import Checkpoint
from .fine import FineModule
from .graph import (
    cache_quantizer_graph,
    causal_graph,
    check_portable,
    codec_graph,
    export_graph,
    fine_graph,
    fine_sampler_graph,
    sampler_graph,
)
from .modules import build_module
from .quantize import cast_tensors, precisions, quantize
from .verify import verify_stage
from .weights import Weights
from .write import new_directory, refuse_to_overwrite

PORTABLE_PRECISIONS = ("fp32", "fp16", "int8")  # standard operators and TensorRT support these


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        precision: fp32, fp16, bf16, int8, int4, mixed, w8a16 or w4a16.
        layout: `static`, with ONNX Runtime's own attention, which is fastest there, or `portable`, standard operators.
        tokenizer: tokenizer.json or vocab.txt; None for the checkpoint's own.
        voices: directory of voice presets; None for the checkpoint's own, if it has any.
        verify: compare every graph with torch, and write no bundle if one is over its limit.
        force: overwrite a bundle with the same name.
    """

    precision: str = "fp32"
    layout: str = "static"
    tokenizer: Path | None = None
    voices: Path | None = None
    verify: bool = True
    force: bool = False


def export_bundle(
    checkpoint: Checkpoint, target: Path, options: ExportOptions, report: Callable[[str], None] = lambda line: None
) -> list[GraphError]:
    """Write a bundle; returns the error of each graph, or an empty list without `verify`.

    Args:
        report: called with a line for the user at each step.

    Raises BarkError; no file is left then.
    """
    refuse_to_overwrite(target, force=options.force)
    if options.layout == "portable" and options.precision not in PORTABLE_PRECISIONS:
        raise BarkError(f"the portable layout comes in {', '.join(PORTABLE_PRECISIONS)}, not in {options.precision}")
    tokenizer, voices = _assets(checkpoint, options)
    vocabulary, precision = checkpoint.vocabulary, options.precision
    if precision in ("int8", "int4", "mixed"):
        report(f"{precision} is for CPUs, and slow on a GPU: fp16 is for those")
    elif precision == "bf16":
        report("bf16 is for GPUs, and does not run on a CPU: it is verified as fp32, with its weights")
    elif precision in GPU_PRECISIONS:
        report(f"{precision} is for GPUs, and slow on a CPU: int8 is for those")
    with new_directory(target, force=options.force) as directory:
        write_tokenizer(tokenizer, directory / TOKENIZER, vocabulary)
        presets: dict[str, VoicePreset] = {}
        if voices is not None:
            own = None if options.voices else voices.parent
            presets = write_voices(voices, directory / VOICES, vocabulary, checkpoint=own)
            report(f"voices: {len(presets)}")
        sizes = {}
        for stage in STAGES:
            report(f"{stage}: exporting")
            weights = checkpoint.load(stage)
            sizes[stage] = weights.size
            _export_stage(stage, weights, directory, vocabulary, options, list(presets.values()))
            del weights  # before the next is loaded
        manifest = Manifest(
            format=FORMAT_REVISION,
            model=checkpoint.source,
            revision=checkpoint.revision,
            exporter=version("bark-onnx"),
            precision=precision,
            kv_layout=options.layout,
            precisions=precisions(precision),
            sizes=Sizes(**sizes),  # type: ignore[arg-type]
            vocabulary=vocabulary,
            files={},
        )
        if manifest.for_gpu:
            _export_samplers(directory, vocabulary)
        manifest = replace(manifest, files=list_files(directory))
        Manifest.from_json(manifest.to_json())  # raises if the runtime would refuse it
        (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        return _verified(checkpoint, Bundle(directory, manifest), report) if options.verify else []


def _assets(checkpoint: Checkpoint, options: ExportOptions) -> tuple[Path, Path | None]:
    """The paths of the tokenizer and the voices, checked before any long work begins."""
    tokenizer, voices = options.tokenizer or checkpoint.tokenizer, options.voices or checkpoint.voices
    if tokenizer is None:
        raise BarkError(
            f"{checkpoint.source} has no tokenizer: pass --tokenizer with the tokenizer.json or vocab.txt "
            "of bert-base-multilingual-cased"
        )
    for path, exists in ((tokenizer, tokenizer.is_file()), (voices, voices is None or voices.is_dir())):
        if not exists:
            raise BarkError(f"{path}: no such {'file' if path == tokenizer else 'directory'}")
    return tokenizer, voices


def _export_stage(
    stage: str,
    weights: Weights,
    directory: Path,
    vocabulary: Vocabulary,
    options: ExportOptions,
    voices: Sequence[VoicePreset],
) -> None:
    """Write the graphs of a stage. The codec is always fp32."""
    if stage != "codec":
        weights = Weights(weights.size, cast_tensors(weights.tensors, options.precision))
    module = build_module(stage, weights, vocabulary, options.layout)
    if isinstance(module, CausalModule):
        graph = causal_graph(module, weights.size)  # type: ignore[arg-type]
    elif isinstance(module, FineModule):
        graph = fine_graph(module)
    else:
        graph = codec_graph(module)

    own = getattr(precisions(options.precision), stage)
    scratch, target = directory / "scratch", directory / graph_file(stage)
    scratch.mkdir()
    try:
        export_graph(graph, scratch / target.name)
        quantize(scratch / target.name, target, own.weights)
        if isinstance(module, CausalModule) and own.kv_cache == "int8":
            assert isinstance(weights.size, TransformerSize)
            scales = cache_scales(module, stage, voices, vocabulary)  # type: ignore[arg-type]
            quantize(scratch / target.name, directory / graph_file(stage, STEP), own.step_weights, target, scales)
            quantizer = cache_quantizer_graph(CacheQuantizer(scales, weights.size.heads), weights.size)
            (directory / graph_file(stage, QUANTIZE_CACHE)).write_bytes(quantizer)
    finally:
        shutil.rmtree(scratch)
    if options.layout == "portable":
        check_portable(target)


def _export_samplers(directory: Path, vocabulary: Vocabulary) -> None:
    """Write the graphs that sample. They have no weights and always compute in 64 bits."""
    for stage in CAUSAL_STAGES:
        choices, first_id = vocabulary.choices(stage), vocabulary.first_id(stage)
        for part in (SAMPLER, TOP_K_TOP_P):
            graph = sampler_graph(choices, first_id, top_k_top_p=part == TOP_K_TOP_P)
            (directory / graph_file(stage, part)).write_bytes(graph)
    fine = fine_sampler_graph(vocabulary.fine_codebooks, vocabulary.codebook_size)
    (directory / graph_file("fine", SAMPLER)).write_bytes(fine)


def _verified(checkpoint: Checkpoint, bundle: Bundle, report: Callable[[str], None]) -> list[GraphError]:
    """The error of each graph. Raises BarkError if one is over its limit."""
    errors = []
    for stage in STAGES:
        report(f"{stage}: verifying")
        errors.append(verify_stage(checkpoint, bundle, stage))
    report(table(errors))
    failed = [str(error) for error in errors if not error.within_limit]
    if failed:
        raise BarkError(
            f"verification failed ({'; '.join(failed)}) and no bundle was written: "
            "try a wider precision, or write it without verification by --no-verify"
        )
    return errors
