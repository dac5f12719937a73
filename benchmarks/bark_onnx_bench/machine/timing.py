"""Time a piece of work: run it several times after a warm-up and keep the median and the spread."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds over several repeats: the median, the minimum and the maximum."""

    median: float
    minimum: float
    maximum: float
    repeats: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Timing":
        values = list(seconds)
        return cls(median(values), min(values), max(values), len(values))

    def to_json(self) -> dict[str, Any]:
        """The times in milliseconds."""
        names = {"median_ms": self.median, "min_ms": self.minimum, "max_ms": self.maximum}
        return {name: round(1e3 * value, 4) for name, value in names.items()} | {"repeats": self.repeats}


def timed(
    work: Callable[[], object], repeats: int, warmups: int = 1, prepare: Callable[[], object] | None = None
) -> Timing:
    """Run `work` `warmups + repeats` times and time the last `repeats` runs.

    Args:
        prepare: called before each run; its time is not counted.
    """
    seconds = []
    for _ in range(warmups + repeats):
        if prepare is not None:
            prepare()
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return Timing.of(seconds[warmups:])
