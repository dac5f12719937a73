"""Describe the machine that a figure was measured on, and measure its read bandwidth and this process's memory."""

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

_DISTRIBUTIONS = (
    "bark-onnx", "onnxruntime", "onnxruntime-gpu", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "numpy", "torch",
    "transformers",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Return the processor, the cores this process may use, memory in GiB, read bandwidth and package versions."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "read_bandwidth_gb_s": round(read_bandwidth(), 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _DISTRIBUTIONS if (found := _version(name))},
    }


def machine_line(described: dict[str, Any]) -> str:
    """One line for the top of a table."""
    bandwidth = described["read_bandwidth_gb_s"]
    return f"{described['processor']}, {described['cores']} cores, {bandwidth} GB/s"


@cache
def read_bandwidth(megabytes: int = 600, repeats: int = 5) -> float:
    """Measure the GB/s at which all cores together read an array too large for the caches.

    Every decode step reads all weights, so this bandwidth limits its speed.
    """
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
    """Return the largest resident size of this process so far, in MB.

    On Linux it is read from /proc, because `getrusage` includes the parent's memory at the time of the fork.
    """
    path = Path("/proc/self/status")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _processor() -> str:
    """Return the processor's model name and those of its instruction sets that decide the speed of int8."""
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
