"""Find the rates to measure: rise until the server is past its limit, and then close in on its highest smooth rate."""

from collections.abc import Sequence

from .level import Level, highest_smooth

FIRST_LOAD = 0.25  # of a server that answers one request after the other
CLOSE = 1.15  # the search ends when a rate that is not smooth is at most so many times a smooth one
MOST_RISES = 12  # of a factor of two each


def first_rate(seconds: float) -> float:
    """The rate to begin with.

    Args:
        seconds: the time of one request alone.
    """
    return rounded(FIRST_LOAD / max(seconds, 1e-3))


def next_rate(levels: Sequence[Level]) -> float | None:
    """The rate to measure next, in requests per second; None at the end.

    Args:
        levels: what has been measured so far, at least one.
    """
    highest = max(level.load for level in levels)
    if not any(level.overloaded for level in levels) and len(levels) <= MOST_RISES:
        return rounded(2 * highest)
    smooth, failing = highest_smooth(levels), [level.load for level in levels if not level.smooth]
    if smooth is None or not failing:
        return None
    low, high = smooth.load, min(failing)
    between = rounded((low * high) ** 0.5)
    return between if high > CLOSE * low and low < between < high else None


def rounded(rate: float) -> float:
    """A rate with three significant digits, so that it can be given again."""
    return float(f"{rate:.3g}")
