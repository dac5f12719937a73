"""Measure streaming on the workload: time to first audio, gaps in playback, and the effect on the fine codes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from bark_onnx import AudioChunk, Bark, SpeechStream, VoicePreset
from bark_onnx.engine.stream import buffering

from .workload import TEXT, run_once, short_name, workload_options


@dataclass(frozen=True)
class StreamMeasurement:
    """The figures of one voice.

    Args:
        first_audio: seconds from the call to the first chunk, as percentiles 50, 90 and 99 over `streams` streams.
        first_chunk_seconds: duration of the first chunk's audio.
        real_time_factor: of a whole stream, compute seconds per second of audio.
        wait_seconds: how long a player must wait after the first chunk so that playback has no gap.
        fine_codes_differing: share of the predicted fine codes (codebooks 2 to 7) that differ from those of
            `Bark.generate`.
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


def measure_streaming(bark: Bark, voice_name: str | None, streams: int) -> StreamMeasurement:
    """Start `streams` streams after a warm-up and take their first chunk; then run one stream to its end."""
    voice = bark.preset(voice_name)
    first = []
    for seed in range(streams + 1):
        start = perf_counter()
        with _stream(bark, voice, seed) as stream:
            chunk = next(stream)
        first.append(perf_counter() - start)
    percentiles = np.percentile(first[1:], (50, 90, 99))
    start, stream = perf_counter(), _stream(bark, voice, seed=1)
    arrivals, chunks = zip(*_with_arrival(stream, start), strict=True)
    speech = stream.speech
    assert speech is not None
    coarse_codebooks = bark.vocabulary.coarse_codebooks
    whole = run_once(bark, voice, seed=1).tokens.fine[coarse_codebooks:]
    return StreamMeasurement(
        voice=short_name(voice_name),
        streams=streams,
        first_audio={f"p{p}": round(float(value), 4) for p, value in zip((50, 90, 99), percentiles, strict=True)},
        first_chunk_seconds=round(chunk.duration, 3),
        real_time_factor=round(arrivals[-1] / speech.duration, 4),
        wait_seconds=round(buffering(chunks, arrivals), 3),
        fine_codes_differing=round(float((speech.tokens.fine[coarse_codebooks:] != whole).mean()), 4),
    )


def _stream(bark: Bark, voice: VoicePreset | None, seed: int) -> SpeechStream:
    return bark.stream(TEXT, voice=voice, options=workload_options(bark), seed=seed)


def _with_arrival(stream: SpeechStream, start: float) -> Iterator[tuple[float, AudioChunk]]:
    """Yield each chunk with the seconds since `start` at which it arrived."""
    for chunk in stream:
        yield perf_counter() - start, chunk
