"""Streaming on the workload: how soon audio comes, whether it keeps up, and what its fine codes cost."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from bark_onnx import AudioChunk, Bark, SpeechStream, VoicePreset
from bark_onnx.engine.stream import buffering

from .workload import TEXT, run_once, workload_options


@dataclass(frozen=True)
class StreamMeasurement:
    """One voice's figures.

    Args:
        first_audio: seconds from the call to the first chunk, at percentiles 50, 90 and 99 of `streams` streams.
        first_chunk_seconds: audio in that chunk.
        real_time_factor: of a whole stream, for a second of audio.
        wait_seconds: what a player waits after the first chunk so that it never runs dry.
        fine_codes_differing: share of the fine codes, the given two codebooks apart, that are not those of `generate`.
    """

    voice: str | None
    streams: int
    first_audio: dict[str, float]
    first_chunk_seconds: float
    real_time_factor: float
    wait_seconds: float
    fine_codes_differing: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_streaming(bark: Bark, name: str | None, voice: VoicePreset | None, streams: int) -> StreamMeasurement:
    """First chunks of `streams` streams after a warm-up, and one stream to its end."""
    first = []
    for seed in range(streams + 1):
        start = perf_counter()
        with _stream(bark, voice, seed) as stream:
            chunk = next(stream)
        first.append(perf_counter() - start)
    percentiles = np.percentile(first[1:], (50, 90, 99))
    start, stream = perf_counter(), _stream(bark, voice, seed=1)
    arrivals, chunks = zip(*_arriving(stream, start), strict=True)
    speech = stream.speech
    assert speech is not None
    given = bark.vocabulary.coarse_codebooks
    exact = run_once(bark, voice, seed=1).tokens.fine[given:]
    return StreamMeasurement(
        voice=name,
        streams=streams,
        first_audio={f"p{p}": round(float(value), 4) for p, value in zip((50, 90, 99), percentiles, strict=True)},
        first_chunk_seconds=round(chunk.duration, 3),
        real_time_factor=round(arrivals[-1] / speech.duration, 4),
        wait_seconds=round(buffering(chunks, arrivals), 3),
        fine_codes_differing=round(float((speech.tokens.fine[given:] != exact).mean()), 4),
    )


def row(measurement: StreamMeasurement) -> str:
    """A measurement as a line of the table."""
    first = measurement.first_audio
    wait = f"buffer {measurement.wait_seconds:.2f} s" if measurement.wait_seconds > 0 else "no gap"
    differing = 100 * measurement.fine_codes_differing
    return (
        f"{measurement.voice or 'none':16}TTFA {first['p50']:.2f} s (p90 {first['p90']:.2f}, p99 {first['p99']:.2f}); "
        f"RTF {measurement.real_time_factor:.3f}; {wait}; {differing:.0f} % other fine codes"
    )


def _stream(bark: Bark, voice: VoicePreset | None, seed: int) -> SpeechStream:
    return bark.stream(TEXT, voice=voice, options=workload_options(bark), seed=seed)


def _arriving(stream: SpeechStream, start: float) -> Iterator[tuple[float, AudioChunk]]:
    for chunk in stream:
        yield perf_counter() - start, chunk
