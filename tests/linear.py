"""The check that the time of a function grows with the length of a text and not faster."""

import time
from collections.abc import Callable

SHORT, LONG = 8_000, 64_000  # characters
ATTEMPTS = 3  # a busy machine slows one measurement more than another


def is_linear(function: Callable[[str], object], unit: str, end: str = "") -> bool:
    """Measure a function on a repeated unit. If its time were quadratic, it would grow 64 times between the lengths."""

    def seconds(length: int) -> float:
        text = unit * (length // len(unit)) + end
        started = time.process_time()
        function(text)
        return time.process_time() - started

    return any(seconds(LONG) < 24 * seconds(SHORT) + 0.1 for _ in range(ATTEMPTS))
