"""Checkpoint to bundle: every network loaded, exported, quantised and verified; then the manifest; then the name."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bark_onnx.bundle import (
    FORMAT_REVISION,
    GPU_PRECISIONS,
    MANIFEST,
    STAGES,
    TOKENIZER,
    VOICES,
    Bundle,
    Manifest,
    Sizes,
    list_files,
)
from bark_onnx.compare import GraphError, table
from bark_onnx.errors import BarkError
from bark_onnx.sizes import TransformerSize
from bark_onnx.vocabulary import Vocabulary
from bark_onnx.voice import VoicePreset

from .assets import write_tokenizer, write_voices
from .calibrate import cache_scales
from .causal import CacheQuantizer, CausalDecoder
from .checkpoint import Checkpoint
from .fine import FineModel
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

PORTABLE_PRECISIONS = ("fp32", "fp16", "int8")  # what standard operators multiply, and TensorRT takes


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        precision: fp32, fp16, bf16, int8, int4, mixed, w8a16 or w4a16.
        layout: `static`, whose attention is ONNX Runtime's own and fastest there, or `portable`, of standard operators.
        tokenizer: tokenizer.json or vocab.txt; None for the checkpoint's own.
        voices: directory of voice presets; None for the checkpoint's own, if it has any.
        verify: compare every graph with torch, and write no bundle if one is over its limit.
        force: overwrite a bundle of the same name.
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
    """Write a bundle and return the error of each graph, none if they are not verified.

    Args:
        report: told each step as a line for the user.

    Raises BarkError, and then leaves nothing behind.
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
        _export_samplers(directory, vocabulary)
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
            files=list_files(directory),
        )
        Manifest.from_json(manifest.to_json())  # never write what would not be read
        (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        return _verified(checkpoint, Bundle(directory, manifest), report) if options.verify else []


def _assets(checkpoint: Checkpoint, options: ExportOptions) -> tuple[Path, Path | None]:
    """The tokenizer and the voices to put in, found before any long work begins."""
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
    """Write STAGE.onnx. The codec stays in fp32."""
    if stage != "codec":
        weights = Weights(weights.size, cast_tensors(weights.tensors, options.precision))
    module = build_module(stage, weights, vocabulary, options.layout)
    if isinstance(module, CausalDecoder):
        graph = causal_graph(module, weights.size)  # type: ignore[arg-type]
    elif isinstance(module, FineModel):
        graph = fine_graph(module)
    else:
        graph = codec_graph(module)

    own = getattr(precisions(options.precision), stage)
    scratch, target = directory / "scratch", directory / f"{stage}.onnx"
    scratch.mkdir()
    try:
        export_graph(graph, scratch / target.name)
        quantize(scratch / target.name, target, own.weights)
        if isinstance(module, CausalDecoder) and own.kv_cache == "int8":
            assert isinstance(weights.size, TransformerSize)
            scales = cache_scales(module, stage, voices, vocabulary)  # type: ignore[arg-type]
            step, narrow = directory / f"{stage}.step.onnx", directory / f"{stage}.narrow.onnx"
            quantize(scratch / target.name, step, own.step_weights, target, scales)
            narrow.write_bytes(cache_quantizer_graph(CacheQuantizer(scales, weights.size.heads), weights.size))
    finally:
        shutil.rmtree(scratch)
    if options.layout == "portable":
        check_portable(target)


def _export_samplers(directory: Path, vocabulary: Vocabulary) -> None:
    """Write the graphs that sample; they have no weights, and are always in 64 bits."""
    for stage, choices, first_id in (
        ("semantic", vocabulary.semantic_choices, 0),
        ("coarse", vocabulary.coarse_choices, vocabulary.semantic_size),
    ):
        for ranked, name in ((False, "sampler"), (True, "ranked")):
            (directory / f"{stage}.{name}.onnx").write_bytes(sampler_graph(choices, first_id, ranked=ranked))
    fine = fine_sampler_graph(vocabulary.fine_codebooks, vocabulary.codebook_size)
    (directory / "fine.sampler.onnx").write_bytes(fine)


def _verified(checkpoint: Checkpoint, bundle: Bundle, report: Callable[[str], None]) -> list[GraphError]:
    errors = []
    for stage in STAGES:
        report(f"{stage}: verifying")
        errors.append(verify_stage(checkpoint, bundle, stage))
    report(table(errors))
    failed = [str(error) for error in errors if not error.within_limit]
    if failed:
        raise BarkError(
            f"verification failed ({'; '.join(failed)}) and no bundle was written: "
            "try a wider precision, or --no-verify to have it all the same"
        )
    return errors
