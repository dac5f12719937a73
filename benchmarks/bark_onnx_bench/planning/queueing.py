"""Simulate replicas: requests that arrive, wait for a slot, and share the engine.

A replica with `n` utterances in its slots makes `rates[n - 1]` seconds of audio in a second, the same share for each of
them; the rest wait in order. With one slot it is the queue M/G/1. With so many slots that nobody waits, and a rate that
does not depend on `n`, it is processor sharing (Kleinrock, Queueing Systems, volumes 1 and 2). Of two replicas that are
drawn, a request goes to the one that has fewer requests, as in Ray Serve.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Arrival = tuple[float, float]
"""When a request comes, and how many seconds of audio it is."""


@dataclass
class Outcome:
    """What became of the requests, in seconds.

    Args:
        waited: of each request, until it got a slot.
        took: of each request, from its arrival to its end.
        refused: how many found the queue full.
        busy: seconds in which a replica had work, of all replicas.
        ended: when the last request ended.
    """

    waited: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    refused: int = 0
    busy: float = 0.0
    ended: float = 0.0

    def utilisation(self, replicas: int) -> float:
        """The share of the time in which a replica had work."""
        return self.busy / (replicas * self.ended) if self.ended else 0.0


class Replica:
    """One engine with its slots and its queue.

    Args:
        rates: seconds of audio in a second, by the number of utterances in slots, from 1; its length is the number of
            slots.
        max_queue: requests that may wait.
    """

    def __init__(self, rates: Sequence[float], max_queue: int, outcome: Outcome) -> None:
        self._rates = rates
        self._max_queue = max_queue
        self._outcome = outcome
        self._now = 0.0
        self._each = 0.0  # seconds of audio that an utterance would have which has been in a slot from the beginning
        self._active: list[tuple[float, float]] = []  # by end: the value of `_each` then, and the arrival
        self._waiting: deque[Arrival] = deque()

    @property
    def requests(self) -> int:
        """How many it has."""
        return len(self._active) + len(self._waiting)

    def advance(self, now: float) -> None:
        """Work until a time."""
        while self._active:
            speed = self._rates[len(self._active) - 1] / len(self._active)
            end = self._now + (self._active[0][0] - self._each) / speed
            if end > now:
                self._each += (now - self._now) * speed
                break
            self._outcome.busy += end - self._now
            self._now, self._each = end, self._active[0][0]
            _, arrived = heapq.heappop(self._active)
            self._outcome.took.append(end - arrived)
            self._outcome.ended = max(self._outcome.ended, end)
            if self._waiting:
                self._start(*self._waiting.popleft())
        if self._active:
            self._outcome.busy += now - self._now
        self._now = now

    def accept(self, arrival: Arrival) -> None:
        """Take a request that comes now, or refuse it."""
        if len(self._active) < len(self._rates):
            self._start(*arrival)
        elif len(self._waiting) < self._max_queue:
            self._waiting.append(arrival)
        else:
            self._outcome.refused += 1

    def finish(self) -> None:
        """Work until nothing is left."""
        while self._active:
            speed = self._rates[len(self._active) - 1] / len(self._active)
            self.advance(self._now + (self._active[0][0] - self._each) / speed)

    def _start(self, arrived: float, seconds: float) -> None:
        self._outcome.waited.append(self._now - arrived)
        heapq.heappush(self._active, (self._each + seconds, arrived))


def simulate(
    arrivals: Iterable[Arrival], replicas: int, rates: Sequence[float], max_queue: int, seed: int = 0
) -> Outcome:
    """Let requests come to replicas.

    Args:
        arrivals: in order.
        rates, max_queue: see `Replica`.
        seed: of the choice among replicas.
    """
    outcome, draw = Outcome(), random.Random(seed)
    all_replicas = [Replica(rates, max_queue, outcome) for _ in range(replicas)]
    for arrival in arrivals:
        drawn = draw.sample(all_replicas, min(2, replicas))
        for replica in drawn:
            replica.advance(arrival[0])
        min(drawn, key=lambda replica: replica.requests).accept(arrival)
    for replica in all_replicas:
        replica.finish()
    return outcome


def poisson(per_second: float, mean_seconds: float, count: int, seed: int = 0) -> list[Arrival]:
    """Requests that come independently of each other, with lengths that are distributed exponentially."""
    draw, now, arrivals = random.Random(seed), 0.0, []
    for _ in range(count):
        now += draw.expovariate(per_second)
        arrivals.append((now, draw.expovariate(1 / mean_seconds)))
    return arrivals
