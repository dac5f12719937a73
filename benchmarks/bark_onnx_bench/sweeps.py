"""How stages scale: with threads, and a decode step with the sequences that share it."""

from dataclasses import replace

from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle

from .floors import Limits
from .stages import Causal, CausalBench, StageTiming, codec_decode, fine_pass

BATCH_SIZES = (1, 2, 4, 8, 16)
STAGES: tuple[Causal, ...] = ("semantic", "coarse")
CONTEXT = 512  # positions of a decode step in a sweep


def thread_counts(cores: int) -> list[int]:
    """1 to `cores`; beyond 8, doubling."""
    doubled = [2**n for n in range(4, cores.bit_length()) if 2**n < cores]
    return [*range(1, min(cores, 8) + 1), *doubled] + ([cores] if cores > 8 else [])


def sweep_threads(
    bundle: Bundle, device: Device, limits: Limits | None, repeats: int, cores: int
) -> list[list[StageTiming]]:
    """For each number of threads: coarse prefill and decode step, fine pass, codec. Each loads its networks anew."""
    space = bundle.manifest.vocabulary
    prompt = space.coarse_semantic_window + 1 + space.max_coarse_history
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
    """For each number of rows: a decode step of the semantic and of the coarse network."""
    columns = []
    for stage in STAGES:
        bench = CausalBench(bundle, stage, device, limits, rows=BATCH_SIZES[-1])
        context = min(CONTEXT, bench.decoder.size.context)
        columns.append([bench.step(context, rows) for rows in BATCH_SIZES])
    return [list(pair) for pair in zip(*columns, strict=True)]
