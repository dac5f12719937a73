"""Measure in a few seconds whether this machine is fast enough for a bundle: speed, first audio, streams at once."""

from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

from bark_onnx import Bark, Request, StreamOptions, VoicePreset

from .workload import TEXT, short_name, workload_options

LEAST_SECONDS = 3.0  # of measuring single streams; a fast model streams several times
MOST_TOGETHER = 64  # streams are measured together, each takes memory for its KV caches


@dataclass(frozen=True)
class QuickMeasurement:
    """The figures of one bundle and one voice.

    Args:
        model, precision: of the bundle.
        voice: the voice's short name; None without a voice.
        speed: seconds of audio for one second of time, one stream alone.
        first_audio: seconds from the call to the first chunk, one stream alone.
        streams: how many streams at once get their audio as fast as it is played; 0 if one is not.
        streams_measured: how many streams were measured together; 1 if one alone is too slow.
        others: the share of the processor that other programs used meanwhile; None if the system does not tell.
    """

    model: str
    precision: str
    voice: str | None
    speed: float
    first_audio: float
    streams: int
    streams_measured: int
    others: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_quickly(bark: Bark, voice_name: str | None) -> tuple[float, float, int, int]:
    """Return speed, seconds to the first audio, streams at once, and how many of them were measured together.

    Streams are measured alone for at least three seconds, after a warm-up. Then as many as should be possible, at
    that speed, run together. The time of n streams is taken as a + b n, from these two measurements.
    """
    voice = bark.preset(voice_name)
    _stream(bark, voice, 0, first_only=True)
    alone: list[tuple[float, float, float]] = []
    while not alone or sum(seconds for _, seconds, _ in alone) < LEAST_SECONDS:
        alone.append(_stream(bark, voice, len(alone) + 1))
    first, seconds, audio = (median(values) for values in zip(*alone, strict=True))
    if seconds > audio:
        return audio / seconds, first, 0, 1
    together = min(max(2, int(audio / seconds)), MOST_TOGETHER)
    each = (_streams(bark, voice, together) - seconds) / (together - 1)
    streams = 1 + int((audio - seconds) / each) if each > 0 else together
    return audio / seconds, first, min(streams, MOST_TOGETHER), together


def _stream(
    bark: Bark, voice: VoicePreset | None, seed: int, *, first_only: bool = False
) -> tuple[float, float, float]:
    """Stream the workload; return the seconds to the first chunk and to the last, and the seconds of audio."""
    start, first, audio = perf_counter(), 0.0, 0.0
    with bark.stream(TEXT, voice=voice, options=workload_options(bark), seed=seed) as stream:
        for chunk in stream:
            first = first or perf_counter() - start
            audio += chunk.duration
            if first_only:
                break
    return first, perf_counter() - start, audio


def _streams(bark: Bark, voice: VoicePreset | None, count: int) -> float:
    """Stream the workload `count` times together; return the seconds until all have ended."""
    options = workload_options(bark)
    requests = [
        Request(TEXT, voice=voice, options=options, seed=seed, streaming=StreamOptions()) for seed in range(count)
    ]
    engine, start = bark.engine(slots=count), perf_counter()
    for job in engine.run(requests):
        job.result()
    return perf_counter() - start


def sentence(measured: QuickMeasurement) -> str:
    """What was measured, for a person."""
    voice = f"with the voice {short_name(measured.voice)}" if measured.voice else "without a voice"
    about = f"{measured.model} in {measured.precision} ({voice})"
    if not measured.streams:
        return (
            f"{about} is too slow for live speech on this machine: it takes {1 / measured.speed:.1f} s for one second "
            f"of speech, and the first audio comes after {measured.first_audio:.2f} s."
        )
    streams = "one stream" if measured.streams == 1 else f"about {measured.streams} streams"
    return (
        f"{about} speaks {measured.speed:.1f} times as fast as real time on this machine, the first audio comes after "
        f"{measured.first_audio:.2f} s, and it can keep up with {streams} at once."
    )


def warning(measured: QuickMeasurement) -> str:
    """What to say about a machine that was busy."""
    return (
        f"other programs used {100 * (measured.others or 0):.0f} % of the processor meanwhile, so this machine can do "
        "more: end them and measure again"
    )
