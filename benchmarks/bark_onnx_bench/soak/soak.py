"""Run the requests, and judge the answers and the server."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .asks import Ask
from .client import Reply, speak
from .server import Footprint, SoakedServer

SECONDS_UNTIL_IDLE = 30.0


@dataclass(frozen=True)
class Reading:
    """How the server is after so many requests, when nothing is left of them."""

    requests: int
    footprint: Footprint


@dataclass
class Report:
    """What a soak found.

    Args:
        fates: what became of the requests, as their clients saw it.
        outcomes: the same, as /metrics counts it.
        readings: of the server, from before the first request to after the last one.
        problems: everything that is wrong, one line each.
    """

    fates: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, int] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def growth(self, after: int) -> float:
        """By which share the memory grew from the reading after so many requests to the last one."""
        first = next(reading for reading in self.readings if reading.requests >= after)
        return self.readings[-1].footprint.memory_mib / first.footprint.memory_mib - 1


def soak(
    server: SoakedServer,
    asks: Sequence[Ask],
    clients: int,
    every: int = 100,
    tell: Callable[[Reading], None] = lambda reading: None,
) -> Report:
    """Send requests from several clients at a time, and compare each complete answer with what the ask gets alone.

    Args:
        every: requests between two readings of the server, which is idle then.
        tell: called with each reading.
    """
    report = Report()

    def read(requests: int) -> None:
        if not server.wait_until_idle(SECONDS_UNTIL_IDLE):
            report.problems.append(f"after {requests} requests something is left of them: {server.metrics()}")
        report.readings.append(Reading(requests, server.footprint()))
        tell(report.readings[-1])

    kinds = list(dict.fromkeys(ask.patient for ask in asks))
    alone = dict(zip(kinds, (speak(server.port, kind) for kind in kinds), strict=True))
    report.problems += [f"alone, {kind}: {reply}" for kind, reply in alone.items() if reply.fate != "complete"]
    before = _outcomes(server)
    read(0)
    with ThreadPoolExecutor(clients) as pool:
        for start in range(0, len(asks), every):
            part = asks[start : start + every]
            for ask, reply in zip(part, pool.map(lambda ask: speak(server.port, ask), part), strict=True):
                report.fates[reply.fate] += 1
                if problem := _problem(reply, alone[ask.patient]):
                    report.problems.append(f"{ask}: {problem}")
            read(start + len(part))
    report.outcomes = {name: count - before[name] for name, count in _outcomes(server).items()}
    report.problems += disagreements(report.fates, report.outcomes)
    return report


def _problem(reply: Reply, alone: Reply) -> str:
    if reply.fate == "broken":
        return reply.problem
    if reply.fate == "complete" and reply.digest != alone.digest:
        return "the audio is not what it is alone"
    return ""


def _outcomes(server: SoakedServer) -> dict[str, int]:
    prefix = 'bark_onnx_requests_total{outcome="'
    found = {name: count for name, count in server.metrics().items() if name.startswith(prefix)}
    return {name.removeprefix(prefix).removesuffix('"}'): int(count) for name, count in found.items()}


def disagreements(fates: Counter[str], outcomes: dict[str, int]) -> list[str]:
    """Compare what the clients saw with what the server counts.

    A client may leave when its answer is under way, or just refused. The server then counts it as completed or
    rejected.
    """
    problems = []
    if sum(outcomes.values()) != fates.total():
        problems.append(f"{fates.total()} requests were sent, and the server counts {outcomes}")
    unexpected = {name: count for name, count in outcomes.items() if count} and {
        name: outcomes[name] for name in ("failed", "late", "refused") if outcomes[name]
    }
    if unexpected and not fates["broken"]:
        problems.append(f"the server counts {unexpected}, and no client saw that")
    for fate, outcome in (("complete", "completed"), ("rejected", "rejected")):
        if not fates[fate] <= outcomes[outcome] <= fates[fate] + fates["left"]:
            problems.append(f"{fates[fate]} clients saw {fate}, and the server counts {outcomes[outcome]}")
    if outcomes["cancelled"] > fates["left"]:
        problems.append(f"{fates['left']} clients left, and the server counts {outcomes['cancelled']}")
    return problems
