"""Seconds of a piece of work, repeated after a warm-up: the median and its spread."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds: the median of the repeats, the least and the most."""

    median: float
    least: float
    most: float
    repeats: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Timing":
        values = list(seconds)
        return cls(median(values), min(values), max(values), len(values))

    def to_json(self) -> dict[str, Any]:
        """In milliseconds."""
        names = {"median_ms": self.median, "min_ms": self.least, "max_ms": self.most}
        return {name: round(1e3 * value, 4) for name, value in names.items()} | {"repeats": self.repeats}


def timed(
    work: Callable[[], object], repeats: int, warmups: int = 1, prepare: Callable[[], object] | None = None
) -> Timing:
    """Run `work` again and again; `prepare` comes before each run and does not count."""
    seconds = []
    for _ in range(warmups + repeats):
        if prepare is not None:
            prepare()
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return Timing.of(seconds[warmups:])
