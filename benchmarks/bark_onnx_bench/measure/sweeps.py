"""Measure how stages scale: with the number of threads, and a decode step with the number of sequences in it."""

from dataclasses import replace

from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.vocabulary import CausalStage

from ..roofline.limits import Limits
from .stages import CausalBench, StageTiming, codec_decode, fine_pass

BATCH_SIZES = (1, 2, 4, 8, 16)
CAUSAL_STAGES: tuple[CausalStage, ...] = ("semantic", "coarse")
CONTEXT = 512  # positions in the context of a decode step


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, ... 8, then powers of two, then `cores`."""
    doubled = [2**n for n in range(4, cores.bit_length()) if 2**n < cores]
    return [*range(1, min(cores, 8) + 1), *doubled] + ([cores] if cores > 8 else [])


def sweep_threads(
    bundle: Bundle, device: Device, limits: Limits | None, repeats: int, cores: int
) -> list[list[StageTiming]]:
    """Measure coarse prefill, coarse decode step, fine pass and codec for each number of threads.

    The networks are loaded anew for each number.
    """
    vocabulary = bundle.manifest.vocabulary
    prompt = vocabulary.coarse_semantic_window + 1 + vocabulary.max_coarse_history
    found = []
    for threads in thread_counts(cores):
        own = replace(device, threads=threads)
        coarse = CausalBench(bundle, "coarse", own, limits)
        figures = [coarse.prefill(prompt, repeats), coarse.step(min(CONTEXT, coarse.decoder.size.context))]
        del coarse
        figures.append(fine_pass(bundle, Networks(bundle, own).fine, limits, repeats, threads))
        figures.append(codec_decode(bundle, Networks(bundle, own).codec, limits, repeats, threads))
        found.append(figures)
    return found


def sweep_batches(bundle: Bundle, device: Device, limits: Limits | None) -> list[list[StageTiming]]:
    """Measure a decode step of the semantic and of the coarse network for each number of sequences."""
    columns = []
    for stage in CAUSAL_STAGES:
        bench = CausalBench(bundle, stage, device, limits, rows=BATCH_SIZES[-1])
        context = min(CONTEXT, bench.decoder.size.context)
        columns.append([bench.step(context, rows) for rows in BATCH_SIZES])
    return [list(pair) for pair in zip(*columns, strict=True)]
