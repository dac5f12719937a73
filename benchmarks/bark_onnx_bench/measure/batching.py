"""Measure batches on the workload: the same utterances together and one after another, alternating."""

from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bark_onnx import Bark, Request

from ..roofline.work import CACHE_BYTES
from .workload import TEXT, run_once, short_name, workload_options


@dataclass(frozen=True)
class BatchMeasurement:
    """The figures of one voice.

    Args:
        utterances: in the batch, each with a seed of its own.
        alone_seconds, together_seconds: for all utterances, medians over `repeats`.
        throughput: `alone_seconds / together_seconds`.
        by_stage: compute seconds of all utterances in the last repeat, as (alone, together).
        same_tokens: by stage, the share of tokens that are the same together as alone.
        bytes_per_slot: size of the KV caches of one utterance at the models' full context.
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


def measure_batch(bark: Bark, voice_name: str | None, utterances: int, repeats: int) -> BatchMeasurement:
    """Run the utterances alone, then together, `repeats` times, after a warm-up of both."""
    voice = bark.preset(voice_name)
    options = workload_options(bark)
    requests = [Request(TEXT, voice=voice, seed=seed, options=options) for seed in range(utterances)]
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
    sizes = bark.bundle.manifest.sizes
    number_bytes = CACHE_BYTES[bark.bundle.manifest.precisions.coarse.kv_cache]
    return BatchMeasurement(
        voice=short_name(voice_name),
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
        bytes_per_slot=sum(2 * s.layers * s.width * s.context * number_bytes for s in (sizes.semantic, sizes.coarse)),
    )
