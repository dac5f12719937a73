"""What a figure was measured on."""

import os
import platform
import resource
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

_DISTRIBUTIONS = ("bark-onnx", "onnxruntime", "numpy", "torch", "transformers")


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory in GiB, and the versions that matter."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "read_bandwidth_gb_s": round(read_bandwidth(), 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _DISTRIBUTIONS if (found := _version(name))},
    }


@cache
def read_bandwidth(megabytes: int = 600, repeats: int = 5) -> float:
    """GB/s at which all cores together read memory that no cache holds: the floor under every decode step."""
    cores = len(os.sched_getaffinity(0))
    parts = np.array_split(np.ones(megabytes * 125_000), cores)
    with ThreadPoolExecutor(cores) as pool:
        seconds = []
        for _ in range(repeats):
            start = perf_counter()
            list(pool.map(np.sum, parts))
            seconds.append(perf_counter() - start)
    return megabytes / 1e3 / min(seconds)


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in MB.

    Linux's own account of it, where there is one: `getrusage` counts what the parent had when it started this process.
    """
    path = Path("/proc/self/status")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _processor() -> str:
    """The model's name, with what of its instructions decides int8 speed."""
    name, flags = platform.processor() or platform.machine(), ""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        name, flags = fields.get("model name", name), fields.get("flags", "")
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags.split()]
    return f"{name} ({', '.join(wanted)})" if wanted else name


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
