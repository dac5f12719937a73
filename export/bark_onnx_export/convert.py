"""Checkpoint to bundle: export every network, write the manifest, verify, then give the directory its name."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from bark_onnx.checks.quality import HEADER, StageQuality
from bark_onnx.errors import BarkError, BarkWarning
from bark_onnx.model.bundle import Bundle, list_files
from bark_onnx.model.manifest import (
    FORMAT_REVISION,
    GPU_PRECISIONS,
    MANIFEST,
    STAGES,
    TOKENIZER,
    VOICES,
    Manifest,
    Sizes,
)
from bark_onnx.model.sizes import CodecSize, TransformerSize
from bark_onnx.model.voice import VoicePreset

from .bundle.tokenizer import write_tokenizer
from .bundle.voices import write_voices
from .bundle.write import new_directory, refuse_to_overwrite
from .checkpoint import Checkpoint
from .graphs.export import export_samplers, export_stage
from .quantization.precision import precisions
from .verify import verify

PORTABLE_PRECISIONS = ("fp32", "fp16", "int8")  # those that standard operators and TensorRT support


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        precision: fp32, fp16, bf16, int8, int4, mixed, w8a16 or w4a16.
        kv_layout: `static`, with ONNX Runtime's own attention, which is the fastest there; or `portable`, with standard
            operators only.
        tokenizer: a tokenizer.json or vocab.txt; None for the checkpoint's own.
        voices: a directory of voice presets; None for the checkpoint's own, if it has any.
        verify: compare every graph with torch on the tokens of voices, and write no bundle if one is over its limits.
        over_limit: write a bundle that is over its limits, with a warning.
        progress: show progress bars on standard error where that is a terminal.
        force: overwrite a bundle of the same name.
    """

    precision: str = "fp32"
    kv_layout: str = "static"
    tokenizer: Path | None = None
    voices: Path | None = None
    verify: bool = True
    over_limit: bool = False
    progress: bool = False
    force: bool = False


def export_bundle(
    checkpoint: Checkpoint, target: Path, options: ExportOptions, report: Callable[[str], None] = lambda line: None
) -> list[StageQuality]:
    """Write a bundle to the directory `target`.

    Args:
        report: is called with a line for the user at each step.

    Returns:
        What the precision costs each stage; an empty list without `options.verify`.

    Raises:
        BarkError: the bundle cannot be written, or a graph is over its limit. Nothing is left in `target` then, and an
            older bundle there is unchanged.
    """
    refuse_to_overwrite(target, force=options.force)
    if options.kv_layout == "portable" and options.precision not in PORTABLE_PRECISIONS:
        raise BarkError(f"the portable layout comes in {', '.join(PORTABLE_PRECISIONS)}, not in {options.precision}")
    tokenizer, voices = _assets(checkpoint, options)
    vocabulary, precision = checkpoint.vocabulary, options.precision
    if precision in ("int8", "int4", "mixed"):
        report(f"{precision} is for CPUs: use fp16 on a GPU")
    elif precision == "bf16":
        report("bf16 is for GPUs, and does not run on a CPU: its weights are verified in fp32")
    elif precision in GPU_PRECISIONS:
        report(f"{precision} is for GPUs, and slow on a CPU: use int8 there")
    with new_directory(target, force=options.force) as directory:
        write_tokenizer(tokenizer, directory / TOKENIZER, vocabulary)
        presets: dict[str, VoicePreset] = {}
        if voices is not None:
            own = None if options.voices else voices.parent
            presets = write_voices(voices, directory / VOICES, vocabulary, checkpoint=own)
            report(f"voices: {len(presets)}")
        sizes: dict[str, TransformerSize | CodecSize] = {}
        chosen: dict[str, dict[str, str]] = {}
        for stage in STAGES:
            report(f"{stage}: exporting")
            weights = checkpoint.load(stage)
            sizes[stage] = weights.size
            chosen |= export_stage(
                stage, weights, directory, vocabulary, list(presets.values()),
                precision=precision, kv_layout=options.kv_layout,
            )  # fmt: skip
            del weights  # before the next network is loaded
        manifest = Manifest(
            format=FORMAT_REVISION,
            model=checkpoint.source,
            revision=checkpoint.revision,
            exporter=version("bark-onnx"),
            precision=precision,
            kv_layout=options.kv_layout,
            precisions=precisions(precision, options.kv_layout),
            matrices=chosen,
            quality={},
            sizes=Sizes(**sizes),  # type: ignore[arg-type]
            vocabulary=vocabulary,
            files={},
        )
        if manifest.for_gpu:
            export_samplers(directory, vocabulary)
        manifest = replace(manifest, files=list_files(directory))
        stages = []
        if options.verify:
            stages = _verified(checkpoint, Bundle(directory, manifest), report, options)
        manifest = replace(manifest, quality={stage.stage: stage.figures for stage in stages})
        Manifest.from_json(manifest.to_json())  # raises if the runtime would refuse it
        (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        return stages


def _assets(checkpoint: Checkpoint, options: ExportOptions) -> tuple[Path, Path | None]:
    """Return the paths of the tokenizer and the voices. Raises BarkError before any long work if one is missing."""
    tokenizer, voices = options.tokenizer or checkpoint.tokenizer, options.voices or checkpoint.voices
    if tokenizer is None:
        raise BarkError(
            f"{checkpoint.source} has no tokenizer: pass --tokenizer with the tokenizer.json or vocab.txt "
            "of bert-base-multilingual-cased"
        )
    if not tokenizer.is_file():
        raise BarkError(f"{tokenizer}: no such file")
    if voices is not None and not voices.is_dir():
        raise BarkError(f"{voices}: no such directory")
    return tokenizer, voices


def _verified(
    checkpoint: Checkpoint, bundle: Bundle, report: Callable[[str], None], options: ExportOptions
) -> list[StageQuality]:
    """Measure every graph. Raises BarkError if one is over its limits, or warns if `options.over_limit` is set."""
    report("measuring the cost of the precision, on the tokens of voices")
    report(HEADER)
    stages = []
    for stage in verify(checkpoint, bundle, progress=options.progress):
        stages.append(stage)
        report(str(stage))
    over = "; ".join(f"{stage.stage}: {', '.join(stage.over)}" for stage in stages if stage.over)
    if over and not options.over_limit:
        raise BarkError(
            f"{bundle.manifest.precision} costs more than its limits allow ({over}) and no bundle was written: "
            "try a wider precision, or write it all the same with --over-limit"
        )
    if over:
        message = f"{bundle.manifest.precision} costs more than its limits allow ({over}): speech may come out wrong"
        warnings.warn(message, BarkWarning, stacklevel=2)
    return stages
