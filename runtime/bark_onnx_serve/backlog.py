"""How much speech the server still has to make, how fast it makes it, and so when to ask again."""

import math
from collections.abc import Callable
from time import monotonic

MEMORY_SECONDS = 60.0  # of work: what is older counts for less than half in the rate
LONGEST_RETRY = 120  # seconds; OpenAI's clients wait no longer


class Backlog:
    """The speech that accepted requests still wait for.

    Args:
        limit: seconds of speech, above which `refuses` is true; None: no limit.
    """

    def __init__(self, limit: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._entries: set[Entry] = set()
        self._made = 0.0  # seconds of speech, and the seconds of work in which it was made; both fade
        self._busy = 0.0
        self._updated = clock()

    def enter(self, expected: float) -> "Entry":
        """Count a request that has been accepted.

        Args:
            expected: seconds of speech, by estimate.
        """
        self._update()
        entry = Entry(self, expected)
        self._entries.add(entry)
        return entry

    @property
    def seconds(self) -> float:
        """Seconds of speech that are still to be made."""
        return sum(entry.left for entry in self._entries)

    @property
    def rate(self) -> float:
        """Seconds of speech that the server makes in a second of work; 1 as long as it has hardly worked."""
        self._update()
        return self._made / self._busy if self._busy >= 1 and self._made > 0 else 1.0

    def refuses(self, expected: float) -> bool:
        """Whether a request for so many seconds is too much now. A server that has nothing to do accepts any."""
        return self._limit is not None and bool(self._entries) and self.seconds + expected > self._limit

    def retry_after(self, expected: float) -> int:
        """After how many seconds there should be a place for a request, from 1 to 120."""
        count = max(1, len(self._entries))
        needed = self.seconds / count  # until one of the requests has ended
        if self._limit is not None:
            needed = max(needed, self.seconds + expected - self._limit)
        return min(LONGEST_RETRY, max(1, math.ceil(needed / self.rate)))

    def _update(self) -> None:
        now = self._clock()
        passed, self._updated = now - self._updated, now
        if self._entries:
            fade = math.exp(-passed / MEMORY_SECONDS)
            self._made *= fade
            self._busy = self._busy * fade + passed

    def _count(self, seconds: float) -> None:
        self._update()
        self._made += seconds

    def _remove(self, entry: "Entry") -> None:
        self._update()
        self._entries.discard(entry)


class Entry:
    """One request in a backlog."""

    def __init__(self, backlog: Backlog, expected: float) -> None:
        self._backlog = backlog
        self.left = expected  # seconds of speech

    def expect(self, seconds: float) -> None:
        """Count speech that the request will have beside what was expected."""
        self.left += seconds

    def made(self, seconds: float) -> None:
        """Count speech that has been made."""
        self.left = max(0.0, self.left - seconds)
        self._backlog._count(seconds)

    def leave(self) -> None:
        """The request has ended. Nothing happens if it had ended before."""
        self._backlog._remove(self)
