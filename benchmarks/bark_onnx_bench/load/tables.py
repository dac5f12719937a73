"""Format the figures of the levels for a terminal of 100 columns."""

from collections.abc import Iterator, Sequence

from .level import Level, highest_smooth
from .player import LEAST_GAP


def header(unit: str) -> str:
    """The columns. Times are in seconds."""
    return (
        f"{unit:>8}{'sent':>6}{'done':>6}{'429':>5}{'failed':>7}{'cut':>5}{'TTFA p50':>10}{'p95':>7}{'p99':>7}"
        f"{'RTF':>6}{'audio/s':>9}{'underrun':>9}{'silent':>8}{'CPU':>6}"
    )


def row(level: Level) -> str:
    """The figures of a level: RTF is the median, CPU the generator's own share of one core."""
    first, factor = level.first_audio, level.real_time_factor
    median = f"{factor['p50']:.2f}" if factor else "-"
    times = [f"{first[name]:.3f}" for name in ("p50", "p95", "p99")] if first else ["-"] * 3
    return (
        f"{level.load:8g}{level.requests:6}{level.completed:6}{level.refused:5}{level.failed:7}{level.cut:5}"
        f"{times[0]:>10}{times[1]:>7}{times[2]:>7}{median:>6}"
        f"{level.audio_per_second:9.2f}{level.underruns:9}{level.silence_seconds:8.1f}{level.generator_cpu:6.0%}"
    )


def notes(level: Level) -> Iterator[str]:
    """What must be said about a level beside its figures."""
    if level.interrupted:
        yield "interrupted: only the requests that had ended are counted"
    for error, count in level.errors.items():
        yield f"{count} x {error}"
    if level.generator_lagged:
        yield (
            f"Warning: the load generator itself was up to {1e3 * level.generator_lag:.0f} ms late "
            f"(p99; at most {1e3 * level.generator_longest_lag:.0f} ms): times are wrong by as much"
        )


def conclusion(levels: Sequence[Level]) -> str:
    """The highest level without underrun, and what that means."""
    best = highest_smooth(levels)
    if best is None:
        return "Highest load without underrun: none. The lowest had gaps or incomplete requests; try a lower one."
    load = f"{best.load:g} requests per second" if best.clients is None else f"{best.clients} clients"
    return (
        f"Highest load without underrun: {load}. Every request was completed, and no player that starts with the "
        f"first bytes had a gap of more than {1e3 * LEAST_GAP:.0f} ms, here and at all lower loads."
    )
