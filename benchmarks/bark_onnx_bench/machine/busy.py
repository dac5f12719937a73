"""Measure how much of the processor other programs use while something is measured."""

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
BUSY = 0.1  # a machine is busy if others take more than this share of it: times then vary by about as much


@dataclass
class Others:
    """What other programs used. The share is known when the `with` block of `others` ends.

    Args:
        share: of the processors that this process may use, 0 to 1; None if the system does not tell.
    """

    share: float | None = None

    @property
    def busy(self) -> bool:
        return self.share is not None and self.share > BUSY


@contextmanager
def others(stat: Path = _STAT) -> Iterator[Others]:
    """Measure the processor time of all other programs while the block runs.

    On Linux it is the busy time of the processors that this process may use, less its own; time that a virtual machine
    does not get counts too. On other systems it is the load average at the start, if there is one: the number of
    programs that compute, over the last minute.

    Args:
        stat: the kernel's file of processor times.
    """
    found, cpus = Others(), _allowed()
    before, own, start = _busy_seconds(stat, cpus), time.process_time(), time.perf_counter()
    if before is None and hasattr(os, "getloadavg"):
        found.share = min(1.0, os.getloadavg()[0] / len(cpus))
    yield found
    after = _busy_seconds(stat, cpus)
    if before is not None and after is not None:
        seconds = after - before - (time.process_time() - own)
        available = len(cpus) * max(time.perf_counter() - start, 1e-3)
        found.share = min(max(seconds / available, 0.0), 1.0)


def _allowed() -> Collection[int]:
    """The numbers of the processors that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _busy_seconds(stat: Path, cpus: Collection[int]) -> float | None:
    """The seconds for which these processors have been busy since the start of the system; None if unknown.

    A line is `cpu0 user nice system idle iowait irq softirq steal ...` in ticks (Linux, proc_stat(5)).
    """
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines() if line.startswith("cpu")]
        own = [[int(ticks) for ticks in line[1:9]] for line in lines if line[0][3:] in map(str, cpus)]
        ticks = sum(sum(line) - line[3] - line[4] for line in own)
        return ticks / os.sysconf("SC_CLK_TCK") if own else None
    except (OSError, ValueError, IndexError):
        return None
