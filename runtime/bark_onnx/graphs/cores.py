"""The CPUs that this process may use, and the number of threads that it should compute with.

ONNX Runtime counts the cores of the machine. In a container, or under `taskset`, a process may use fewer of them, and
threads beyond those only wait for each other.
"""

import math
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MOST_THREADS = 1024

_PROCESS = Path("/proc/self")
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def default_threads() -> int | None:
    """Return the number of threads to compute with if the caller gives none.

    It is the first number of OMP_NUM_THREADS, if that is valid. Else it is the number of cores that this process may
    use, if the machine has more. None leaves the number to ONNX Runtime: one for each core of the machine.
    """
    asked_for = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked_for.isascii() and asked_for.isdecimal() and len(asked_for) < 5 and 1 <= int(asked_for) <= MOST_THREADS:
        return int(asked_for)
    cores = usable_cores()
    return cores if cores < _cores(range(os.cpu_count() or 1)) else None


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return min(_cores(_allowed()), _quota())


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use; a core with two hardware threads is two CPUs."""
    return min(len(_allowed()), _quota())


def cpu_quota(process: Path = _PROCESS) -> float | None:
    """Return the CPUs whose time the control groups of this process allow it, such as 1.5; None without a limit.

    The least of its groups and of those above them counts. Version 2 has a quota and a period in `cpu.max`, version 1
    in `cpu.cfs_quota_us` and `cpu.cfs_period_us` (Linux, Documentation/admin-guide/cgroup-v2.rst and
    Documentation/scheduler/sched-bwc.rst).

    Args:
        process: the directory of a process in /proc.
    """
    return min((limit for group in _groups(process) if (limit := _limit(group))), default=None)


def _quota() -> int:
    """The quota as a number of threads: rounded up, so that all of it can be used."""
    quota = cpu_quota()
    return MOST_THREADS if quota is None else max(1, math.ceil(quota))


def _allowed() -> Collection[int]:
    """The numbers of the CPUs on which this process may run."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _cores(cpus: Iterable[int]) -> int:
    """The number of cores to which these CPUs belong."""
    return len({_read(Path(_SIBLINGS.format(cpu))) or str(cpu) for cpu in cpus})


def _groups(process: Path) -> Iterator[Path]:
    """The directories of the process's control groups that can limit its CPUs, and of the groups above them."""
    for mount in _read(process / "mountinfo").splitlines():
        fields, _, source = mount.partition(" - ")
        kind, _, options = source.partition(" ")
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(" ")[-1].split(",")):
            root, point = fields.split(" ")[3:5]
            for line in _read(process / "cgroup").splitlines():
                number, controllers, group = line.split(":", 2)
                if "cpu" in controllers.split(",") if kind == "cgroup" else number == "0":
                    # A container may see the path of its group on the host, which is not mounted here.
                    inside = group.removeprefix(root).strip("/") if group.startswith(root) else ""
                    directory = Path(point, inside)
                    yield from (directory, *(above for above in directory.parents if above.is_relative_to(point)))


def _limit(group: Path) -> float | None:
    """The quota of one control group in CPUs."""
    quota, _, period = _read(group / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = (_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _read(path: Path) -> str:
    """The text of a small file of the kernel's; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
