"""Measure each stage alone: prefill, decode step, fine pass and codec, each with the floor of its work."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bark_onnx.graphs.cache import KVCache
from bark_onnx.graphs.codec import CodecDecoder
from bark_onnx.graphs.decoder import Decoder
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.fine import FineModel
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STEP, graph_file
from bark_onnx.model.vocabulary import CausalStage

from ..machine.timing import Timing, timed
from ..roofline.limits import Floor, Limits, floor
from ..roofline.work import Work, codec_work, decode_work, fine_work, prefill_work
from .workload import SEMANTIC_TOKENS

# Positions in the context of a decode step, the new one included: right after a prompt, in the middle, nearly full.
STEP_CONTEXTS = (257, 512, 900)
STEP_REPEATS = 50


@dataclass(frozen=True)
class StageTiming:
    """The time of one kind of run of one stage.

    Args:
        phase: `prefill`, `step`, `pass` or `decode`.
        positions: of the prompt; of the context with the new token; or the number of frames.
        rows: sequences that run together.
        work, floor: of all rows together; the floor is None if the machine's limits were not measured.
        threads: of the graph run; None if ONNX Runtime chose the number.
        audio_seconds: duration of the waveform, for the codec.
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
        """Positions or frames per second; for a decode step, tokens per second."""
        return self.rows * (1 if self.phase == "step" else self.positions) / self.timing.median

    @property
    def reached(self) -> float | None:
        """Floor divided by measured time: the share of the machine's limit that was reached."""
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
    """Measure all stages, with one network in memory at a time."""
    vocabulary = bundle.manifest.vocabulary
    coarse_prompt = vocabulary.coarse_semantic_window + 1
    prompts: dict[CausalStage, list[int]] = {
        "semantic": [vocabulary.text_window + 1],
        "coarse": [coarse_prompt, coarse_prompt + vocabulary.max_coarse_history],
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
    """The semantic or the coarse network with a cache of `rows`, ready to be measured."""

    def __init__(
        self, bundle: Bundle, stage: CausalStage, device: Device, limits: Limits | None, rows: int = 1
    ) -> None:
        manifest = bundle.manifest
        self.decoder: Decoder = Networks(bundle, device).causal(stage)
        self._cache: KVCache = self.decoder.new_cache(rows)
        self._stage: CausalStage = stage
        self._limits = limits
        self._threads = device.threads
        self._precision = {"semantic": manifest.precisions.semantic, "coarse": manifest.precisions.coarse}[stage]
        graphs = {"prefill": graph_file(stage), "step": graph_file(stage, STEP if self._precision.split else None)}
        self._forms = {phase: manifest.matrices.get(graph) for phase, graph in graphs.items()}
        vocabulary = manifest.vocabulary
        self._choices = {"semantic": vocabulary.semantic_choices, "coarse": vocabulary.coarse_choices}[stage]

    def prefill(self, positions: int, repeats: int) -> StageTiming:
        """Time a prefill of `positions` into an empty cache."""
        ids, cache = self._ids(positions), self._cache
        timing = timed(lambda: self.decoder.prefill(cache, ids), repeats, prepare=cache.clear)
        work = prefill_work(self.decoder.size, self._precision, self._choices, positions, self._forms["prefill"])
        return self._timing("prefill", positions, timing, work)

    def step(self, context: int, rows: int = 1) -> StageTiming:
        """Time one decode step of the first `rows`, always at the same context."""
        ids, cache = self._ids(context - 1), self._cache
        for row in range(rows):
            self.decoder.prefill(cache, ids, row=row)

        def step_back() -> None:
            cache.lengths[:rows] = context - 1

        every, tokens = range(rows), [0] * rows
        timing = timed(lambda: self.decoder.decode_step(cache, tokens, every), STEP_REPEATS, 5, step_back)
        work = decode_work(self.decoder.size, self._precision, self._choices, context, rows, self._forms["step"])
        return self._timing("step", context, timing, work, rows)

    def _ids(self, count: int) -> NDArray[np.int64]:
        return np.random.default_rng(0).integers(0, self.decoder.size.input_vocabulary, count)

    def _timing(self, phase: str, positions: int, timing: Timing, work: Work, rows: int = 1) -> StageTiming:
        return StageTiming(self._stage, phase, positions, timing, work, _floor(work, self._limits), rows, self._threads)


def fine_pass(
    bundle: Bundle, model: FineModel, limits: Limits | None, repeats: int, threads: int | None = None
) -> StageTiming:
    """Time the pass for one codebook over a whole window."""
    manifest, vocabulary = bundle.manifest, bundle.manifest.vocabulary
    shape = (1, vocabulary.fine_codebooks, vocabulary.fine_window)
    codes = np.random.default_rng(0).integers(0, vocabulary.codebook_size, shape)
    timing = timed(lambda: model.logits(codes, vocabulary.coarse_codebooks), repeats)
    frames = vocabulary.fine_window
    forms = manifest.matrices.get(graph_file("fine"))
    work = fine_work(manifest.sizes.fine, manifest.precisions.fine, vocabulary.codebook_size, frames, forms)
    return StageTiming("fine", "pass", frames, timing, work, _floor(work, limits), threads=threads)


def codec_decode(
    bundle: Bundle, model: CodecDecoder, limits: Limits | None, repeats: int, threads: int | None = None
) -> StageTiming:
    """Time the decoding of the workload's frames in one run."""
    vocabulary = bundle.manifest.vocabulary
    frames = vocabulary.coarse_length(SEMANTIC_TOKENS) // vocabulary.coarse_codebooks
    shape = (vocabulary.fine_codebooks, frames)
    codes = np.random.default_rng(0).integers(0, vocabulary.codebook_size, shape)
    timing = timed(lambda: model.decode(codes), repeats)
    work = codec_work(bundle.manifest.sizes.codec, frames)
    audio = frames / vocabulary.coarse_rate
    return StageTiming(
        "codec", "decode", frames, timing, work, _floor(work, limits), threads=threads, audio_seconds=audio
    )


def _floor(work: Work, limits: Limits | None) -> Floor | None:
    return None if limits is None else floor(work, limits)
