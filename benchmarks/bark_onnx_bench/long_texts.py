"""Measure streams of long texts: the first audio, compared with that of a single sentence, and gaps while playing.

    python -m bark_onnx_bench.long_texts [BUNDLE] [--voice NAME] [--rounds N] [--json FILE]

Each round streams, one after the other: a sentence; a text of three paragraphs; and the same text piece by piece, as a
language model writes it. The first audio is that of the sentence, of the text, and of the pieces after the first one.
The text is also streamed to a player that plays in real time and begins with the first chunk: the seconds in which it
has nothing to play are gaps. A pause between two passages is not a gap.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from bark_onnx import Bark, SpeechStream
from bark_onnx.errors import BarkError

from .machine.description import machine, machine_line
from .measure.workload import short_name
from .report.figures import write_figures

SENTENCE = "The train leaves at seven in the morning."
PARAGRAPHS = (
    "The train leaves at seven in the morning. We had coffee by the river, and talked about the weather. A small dog "
    "ran over the bridge and barked at the boats. Nobody knew whose it was, so we took it home.",
    "My sister lives in a white house near the market. She paints old doors and sells them to people from the city. On "
    "Sundays she closes the shop, and we walk along the wall until it gets dark.",
    "In winter the lake freezes, and the children learn to skate. Their fathers stand on the shore and tell them what "
    "to do. When the moon comes up, everybody goes home for soup.",
)
TEXT = "\n\n".join(PARAGRAPHS)
PIECE = 4  # characters, about a token of a language model


def pieces(text: str) -> Iterator[str]:
    """The text in pieces, all of them at once: no writer is waited for."""
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def first_audio(begin: Callable[[], SpeechStream]) -> float:
    """Seconds from the call to the first chunk."""
    start = perf_counter()
    with begin() as stream:
        next(stream)
        return perf_counter() - start


def play(stream: SpeechStream) -> dict[str, float]:
    """Take the chunks at the speed at which a player plays them.

    Returns the seconds of audio, the seconds until the last chunk came, the seconds in which the player had nothing to
    play, and the longest of these gaps.
    """
    start, end, gaps = perf_counter(), 0.0, [0.0]
    for chunk in stream:
        now = perf_counter()
        gaps.append(max(0.0, now - end) if end else 0.0)
        end = max(now, end) + chunk.duration
        last, audio = now - start, chunk.start + chunk.duration
        sleep(max(0.0, end - perf_counter() - 0.5))  # half a second is in the player's buffer
    return {"audio": audio, "made": last, "gaps": sum(gaps), "longest_gap": max(gaps)}


def as_fast_as_possible(stream: SpeechStream) -> float:
    """The real-time factor of a stream that nobody waits for."""
    start, audio = perf_counter(), 0.0
    for chunk in stream:
        audio = chunk.start + chunk.duration
    return (perf_counter() - start) / audio


def measure_long_texts(bark: Bark, voice: str | None, rounds: int) -> dict[str, Any]:
    """Medians over the rounds, after a warm-up."""
    preset = bark.preset(voice)
    ways: dict[str, Callable[[int], SpeechStream]] = {
        "sentence": lambda seed: bark.stream(SENTENCE, voice=preset, seed=seed),
        "text": lambda seed: bark.stream(TEXT, voice=preset, seed=seed),
        "pieces": lambda seed: bark.stream(pieces(TEXT), voice=preset, seed=seed),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(rounds + 1):
        for name, begin in ways.items():
            seconds[name].append(first_audio(lambda begin=begin, seed=seed: begin(seed)))  # type: ignore[misc]
    first = {name: round(median(values[1:]), 4) for name, values in seconds.items()}
    playing = {name: [play(ways[name](seed)) for seed in range(2)] for name in ("text", "pieces")}
    return {
        "voice": short_name(voice),
        "rounds": rounds,
        "first_audio": first,
        "first_audio_ratio": {name: round(first[name] / first["sentence"], 3) for name in ("text", "pieces")},
        "real_time_factor": round(median(as_fast_as_possible(ways["text"](seed)) for seed in range(2)), 3),
        "playing": {
            name: [{key: round(value, 3) for key, value in run.items()} for run in runs]
            for name, runs in playing.items()
        },
    }


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as text."""
    first, ratio = figures["first_audio"], figures["first_audio_ratio"]
    yield f"first audio, median of {figures['rounds']}: sentence {first['sentence']:.3f} s"
    for name in ratio:
        yield f"  {name:8} {first[name]:.3f} s, {ratio[name]:.2f} of the sentence"
    yield f"RTF of the text {figures['real_time_factor']:.2f}"
    for name, runs in figures["playing"].items():
        for run in runs:
            yield (
                f"  {name:8} played in real time: {run['audio']:.1f} s of audio, gaps of {run['gaps']:.2f} s, "
                f"the longest {run['longest_gap']:.2f} s"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--voice")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        with Bark.load(given.bundle) as bark:
            manifest, here = bark.bundle.manifest, machine()
            print(f"{machine_line(here)}; {manifest.model} {manifest.precision}")
            figures = measure_long_texts(bark, given.voice, given.rounds)
            print(*lines(figures), sep="\n")
            if given.json is not None:
                voice = [] if given.voice is None else ["--voice", str(short_name(given.voice))]
                bundle = [] if given.bundle is None else [given.bundle.name]
                command = ["python -m bark_onnx_bench.long_texts", *bundle, *voice, f"--rounds {given.rounds}"]
                about = {
                    "command": " ".join(command),
                    "machine": here,
                    "bundle": {"model": manifest.model, "precision": manifest.precision},
                    "device": bark.device.name,
                    "threads": bark.device.threads,
                }
                write_figures(given.json, about | figures)
    except BarkError as error:
        parser.exit(1, f"Error: {error}\n")


if __name__ == "__main__":
    main()
