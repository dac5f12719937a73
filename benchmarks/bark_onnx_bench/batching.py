"""Batches on the workload: utterances together against the same ones after another, in turn."""

from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bark_onnx import Bark, Request, VoicePreset

from .workload import TEXT, run_once, workload_options


@dataclass(frozen=True)
class BatchMeasurement:
    """One voice's figures.

    Args:
        utterances: in the batch, each with a seed of its own.
        alone_seconds, together_seconds: medians over `repeats`, for all of them.
        throughput: how many times faster together.
        by_stage: compute seconds of the last repeat, of all utterances, alone and together.
        same_tokens: share of the tokens of each stage that are those of the utterance alone.
        bytes_per_slot: KV caches of one utterance at its model's full context.
    """

    voice: str | None
    utterances: int
    repeats: int
    alone_seconds: float
    together_seconds: float
    throughput: float
    by_stage: dict[str, tuple[float, float]]
    same_tokens: dict[str, float]
    bytes_per_slot: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_batch(
    bark: Bark, name: str | None, voice: VoicePreset | None, utterances: int, repeats: int
) -> BatchMeasurement:
    """Alternate the two ways, after a warm-up of each."""
    requests = [Request(TEXT, voice=voice, seed=seed, options=workload_options(bark)) for seed in range(utterances)]
    run_once(bark, voice, seed=0)
    bark.generate_batch(requests[:2])
    alone_seconds, together_seconds = [], []
    for _ in range(repeats):
        start = perf_counter()
        alone = [run_once(bark, voice, seed) for seed in range(utterances)]
        middle = perf_counter()
        together = bark.generate_batch(requests, slots=utterances)
        alone_seconds.append(middle - start)
        together_seconds.append(perf_counter() - middle)
    pairs = list(zip(alone, together, strict=True))
    size = bark.bundle.manifest.sizes
    widest = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}[bark.bundle.manifest.precisions.coarse.kv_cache]
    return BatchMeasurement(
        voice=name,
        utterances=utterances,
        repeats=repeats,
        alone_seconds=round(median(alone_seconds), 3),
        together_seconds=round(median(together_seconds), 3),
        throughput=round(median(alone_seconds) / median(together_seconds), 3),
        by_stage={
            stage: (
                round(sum(speech.timings[stage] for speech in alone), 3),
                round(sum(speech.timings[stage] for speech in together), 3),
            )
            for stage in alone[0].timings
        },
        same_tokens={
            stage: round(
                float(np.mean([(getattr(a.tokens, stage) == getattr(b.tokens, stage)).mean() for a, b in pairs])), 4
            )
            for stage in ("semantic", "coarse", "fine")
        },
        bytes_per_slot=sum(2 * s.layers * s.width * s.context * widest for s in (size.semantic, size.coarse)),
    )


def row(measurement: BatchMeasurement) -> str:
    """A measurement as a line of the table."""
    return (
        f"{measurement.voice or 'none':16}{measurement.utterances} together {measurement.together_seconds:.1f} s, "
        f"in turn {measurement.alone_seconds:.1f} s: {measurement.throughput:.2f} times the throughput; "
        f"{measurement.bytes_per_slot / 1e6:.0f} MB KV cache a slot"
    )
