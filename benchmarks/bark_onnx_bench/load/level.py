"""The figures of one level of load."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .client import Answer
from .watch import MOST_LAG, Watch

PERCENTILES = (50, 95, 99)
Percentiles = dict[str, float]


@dataclass(frozen=True)
class Level:
    """What became of the requests at one rate, or of one number of clients. Times are in seconds.

    Args:
        rate: requests in a second (open loop); None in a closed loop.
        clients: clients that ask one after the other (closed loop); None in an open loop.
        requests: how many were sent.
        completed, refused, failed, cut: what became of them; see `client.Outcome`.
        seconds: from the start to the end of the last answer.
        audio_seconds: audio that came, of all requests.
        first_audio: from when a request was due to its first byte of audio, of the requests that got audio.
        real_time_factor: of the completed requests, the time from when it was due to its last byte, for each second of
            its audio.
        underruns: requests in which a player that starts with the first bytes had a gap.
        silence_seconds: these gaps together.
        buffer: how long a player must wait after the first bytes to have no gap.
        errors: what went wrong, and how often.
        generator_cpu: the share of one core that the load generator used.
        generator_lag, generator_longest_lag: how late the generator's own timers were, p99 and at most.
        interrupted: only the requests that had ended are counted.
    """

    rate: float | None
    clients: int | None
    requests: int
    completed: int
    refused: int
    failed: int
    cut: int
    seconds: float
    audio_seconds: float
    first_audio: Percentiles | None
    real_time_factor: Percentiles | None
    underruns: int
    silence_seconds: float
    buffer: Percentiles | None
    generator_cpu: float
    generator_lag: float
    generator_longest_lag: float
    errors: dict[str, int] = field(default_factory=dict)
    interrupted: bool = False

    @classmethod
    def of(
        cls, answers: Sequence[Answer], seconds: float, watch: Watch, *, rate: float | None, clients: int | None,
        interrupted: bool,
    ) -> "Level":  # fmt: skip
        """Count the answers."""
        outcomes = Counter(answer.outcome for answer in answers)
        heard = [answer for answer in answers if answer.first_audio is not None]
        completed = [answer for answer in answers if answer.outcome == "completed"]
        return cls(
            rate=rate,
            clients=clients,
            requests=len(answers),
            completed=outcomes["completed"],
            refused=outcomes["refused"],
            failed=outcomes["failed"],
            cut=outcomes["cut"],
            seconds=round(seconds, 3),
            audio_seconds=round(sum(answer.audio for answer in answers), 3),
            first_audio=_percentiles([answer.first_audio or 0.0 for answer in heard]),
            real_time_factor=_percentiles([answer.ended / answer.audio for answer in completed]),
            underruns=sum(answer.underruns > 0 for answer in answers),
            silence_seconds=round(sum(answer.silence for answer in answers), 3),
            buffer=_percentiles([answer.silence for answer in heard]),
            generator_cpu=round(watch.cpu, 3),
            generator_lag=round(watch.lag, 4),
            generator_longest_lag=round(watch.longest_lag, 4),
            errors=dict(Counter(answer.error for answer in answers if answer.error is not None)),
            interrupted=interrupted,
        )

    @property
    def load(self) -> float:
        """The rate, or the number of clients."""
        return self.rate if self.rate is not None else float(self.clients or 0)

    @property
    def audio_per_second(self) -> float:
        """Seconds of audio that came in a second, of all requests together."""
        return self.audio_seconds / self.seconds

    @property
    def smooth(self) -> bool:
        """Whether every request was completed, and no player had a gap."""
        return self.completed == self.requests and not self.underruns and not self.interrupted

    @property
    def overloaded(self) -> bool:
        """Whether more than half of the requests were not completed, or had a gap."""
        return self.requests - self.completed + self.underruns > self.requests / 2

    @property
    def generator_lagged(self) -> bool:
        """Whether the figures are wrong because the generator was late itself."""
        return self.generator_lag > MOST_LAG

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "audio_per_second": round(self.audio_per_second, 3)}


def highest_smooth(levels: Sequence[Level]) -> Level | None:
    """The highest level that is smooth, as is every lower one that was measured."""
    found = None
    for level in sorted(levels, key=lambda level: level.load):
        if not level.smooth:
            break
        found = level
    return found


def _percentiles(values: Sequence[float]) -> Percentiles | None:
    if not values:
        return None
    found = np.percentile(values, PERCENTILES)
    return {f"p{percent}": round(float(value), 4) for percent, value in zip(PERCENTILES, found, strict=True)}
