"""Each stage by itself: prefill, decode step, fine pass, codec, against the floor of its work on this machine."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bark_onnx.graphs.cache import KVCache
from bark_onnx.graphs.codec import CodecDecoder
from bark_onnx.graphs.decoder import Decoder
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.fine import FineModel
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle

from .floors import Floor, Limits, Work, codec_work, decode_work, fine_work, floor, prefill_work
from .timing import Timing, timed
from .workload import SEMANTIC_TOKENS

Causal = Literal["semantic", "coarse"]

STEP_CONTEXTS = (257, 512, 900)  # positions, the new one included: as a prompt ends, as the workload does, nearly full
STEP_REPEATS = 50


@dataclass(frozen=True)
class StageTiming:
    """One figure of one stage.

    Args:
        phase: `prefill`, `step`, `pass` or `decode`.
        positions: of the prompt, of the context with the new token, or frames.
        rows: sequences that run together.
        work, floor: of all rows; no floor where this machine's limits are not known.
        threads: of a graph run; None where ONNX Runtime chose.
        audio_seconds: of the codec's waveform.
    """

    stage: str
    phase: str
    positions: int
    timing: Timing
    work: Work
    floor: Floor | None = None
    rows: int = 1
    threads: int | None = None
    audio_seconds: float | None = None

    @property
    def name(self) -> str:
        return f"{self.stage} {self.phase} {'at' if self.phase == 'step' else 'of'} {self.positions}"

    @property
    def per_second(self) -> float:
        """Positions or frames a second; of a decode step, tokens."""
        return self.rows * (1 if self.phase == "step" else self.positions) / self.timing.median

    @property
    def reached(self) -> float | None:
        """Share of the machine's limit."""
        return None if self.floor is None else self.floor.seconds / self.timing.median

    def to_json(self) -> dict[str, Any]:
        figures = {"stage": self.stage, "phase": self.phase, "positions": self.positions, "rows": self.rows}
        figures |= {"threads": self.threads, **self.timing.to_json(), "per_second": round(self.per_second, 2)}
        figures |= {"bytes_read": self.work.bytes_read, "multiply_adds": self.work.multiply_adds}
        if self.floor is not None and self.reached is not None:
            figures |= {
                "floor_ms": round(1e3 * self.floor.seconds, 4),
                "bound_by": self.floor.bound_by,
                "reached": round(self.reached, 4),
            }
        if self.audio_seconds is not None:
            figures["seconds_per_audio_second"] = round(self.timing.median / self.audio_seconds, 5)
        return figures


def measure_stages(bundle: Bundle, device: Device, limits: Limits | None, repeats: int) -> list[StageTiming]:
    """All of them, one network in memory at a time."""
    space = bundle.manifest.vocabulary
    coarse_prompt = space.coarse_semantic_window + 1
    prompts: dict[Causal, list[int]] = {
        "semantic": [space.text_window + 1],
        "coarse": [coarse_prompt, coarse_prompt + space.max_coarse_history],
    }
    found = []
    for stage, positions in prompts.items():
        causal = CausalBench(bundle, stage, device, limits)
        found += [causal.prefill(count, repeats) for count in positions]
        found += [causal.step(count) for count in STEP_CONTEXTS if count <= causal.decoder.size.context]
    found.append(fine_pass(bundle, Networks(bundle, device).fine, limits, repeats))
    found.append(codec_decode(bundle, Networks(bundle, device).codec, limits, repeats))
    return found


class CausalBench:
    """The semantic or the coarse network, loaded, with a cache of `rows`."""

    def __init__(self, bundle: Bundle, stage: Causal, device: Device, limits: Limits | None, rows: int = 1) -> None:
        manifest = bundle.manifest
        self.decoder: Decoder = Networks(bundle, device).causal(stage)
        self._cache: KVCache = self.decoder.new_cache(rows)
        self._stage: Causal = stage
        self._limits = limits
        self._threads = device.threads
        self._precision = {"semantic": manifest.precisions.semantic, "coarse": manifest.precisions.coarse}[stage]
        space = manifest.vocabulary
        self._choices = {"semantic": space.semantic_choices, "coarse": space.coarse_choices}[stage]

    def prefill(self, positions: int, repeats: int) -> StageTiming:
        """A prompt of which the cache holds nothing."""
        ids, cache = self._ids(positions), self._cache
        timing = timed(lambda: self.decoder.prefill(cache, ids), repeats, prepare=cache.clear)
        work = prefill_work(self.decoder.size, self._precision, self._choices, positions)
        return self._timing("prefill", positions, timing, work)

    def step(self, context: int, rows: int = 1) -> StageTiming:
        """One token for each of the first `rows`, the same step again and again."""
        ids, cache = self._ids(context - 1), self._cache
        for row in range(rows):
            self.decoder.prefill(cache, ids, row=row)

        def step_back() -> None:
            cache.lengths[:rows] = context - 1

        every, tokens = range(rows), [0] * rows
        timing = timed(lambda: self.decoder.decode_step(cache, tokens, every), STEP_REPEATS, 5, step_back)
        work = decode_work(self.decoder.size, self._precision, self._choices, context, rows)
        return self._timing("step", context, timing, work, rows)

    def _ids(self, count: int) -> NDArray[np.int64]:
        return np.random.default_rng(0).integers(0, self.decoder.size.input_vocabulary, count)

    def _timing(self, phase: str, positions: int, timing: Timing, work: Work, rows: int = 1) -> StageTiming:
        return StageTiming(self._stage, phase, positions, timing, work, _floor(work, self._limits), rows, self._threads)


def fine_pass(
    bundle: Bundle, model: FineModel, limits: Limits | None, repeats: int, threads: int | None = None
) -> StageTiming:
    """One codebook of a whole window."""
    manifest, space = bundle.manifest, bundle.manifest.vocabulary
    shape = (1, space.fine_codebooks, space.fine_window)
    codes = np.random.default_rng(0).integers(0, space.codebook_size, shape)
    timing = timed(lambda: model.logits(codes, space.coarse_codebooks), repeats)
    work = fine_work(manifest.sizes.fine, manifest.precisions.fine, space.codebook_size, space.fine_window)
    return StageTiming("fine", "pass", space.fine_window, timing, work, _floor(work, limits), threads=threads)


def codec_decode(
    bundle: Bundle, model: CodecDecoder, limits: Limits | None, repeats: int, threads: int | None = None
) -> StageTiming:
    """The workload's frames in one run."""
    space = bundle.manifest.vocabulary
    frames = space.coarse_length(SEMANTIC_TOKENS) // space.coarse_codebooks
    codes = np.random.default_rng(0).integers(0, space.codebook_size, (space.fine_codebooks, frames))
    timing = timed(lambda: model.decode(codes), repeats)
    work = codec_work(bundle.manifest.sizes.codec, frames)
    audio = frames / space.coarse_rate
    return StageTiming(
        "codec", "decode", frames, timing, work, _floor(work, limits), threads=threads, audio_seconds=audio
    )


def _floor(work: Work, limits: Limits | None) -> Floor | None:
    return None if limits is None else floor(work, limits)
