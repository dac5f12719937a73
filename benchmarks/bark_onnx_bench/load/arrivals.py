"""What is asked for, and when: texts of different lengths, and the arrivals of independent users."""

import random
from collections.abc import Iterator

TEXTS = (
    "Yes, of course.",
    "The train leaves at seven in the morning.",
    "We had coffee by the river, and talked about the weather.",
    "Please leave a message after the tone.",
    "A small dog ran over the bridge and barked at the boats.",
    "My sister lives in a white house near the market, and paints old doors on Sundays.",
    "In winter the lake freezes, and the children learn to skate. Their fathers stand on the shore.",
    "Turn left at the next street, go on for two miles, and then take the second road on the right.",
)


def texts(seed: int) -> Iterator[str]:
    """Texts without end. A seed gives the same ones, whatever the rate."""
    random_texts = random.Random(f"texts {seed}")
    while True:
        yield random_texts.choice(TEXTS)


def arrivals(rate: float, seed: int) -> Iterator[float]:
    """When requests come, in seconds from the start: a Poisson process of `rate` requests in a second, without end.

    A seed gives the same arrivals at every rate, only faster or slower.
    """
    random_gaps, at = random.Random(f"arrivals {seed}"), 0.0
    while True:
        at += random_gaps.expovariate(1.0) / rate
        yield at
