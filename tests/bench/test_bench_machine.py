"""The machine: bandwidth, timing, and the peak memory of a process."""

import subprocess
import sys
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from bark_onnx_bench.machine.description import read_bandwidth
from bark_onnx_bench.machine.timing import Timing, timed


def test_bandwidth_is_measured_once() -> None:
    assert 0.1 < read_bandwidth() < 10_000
    assert read_bandwidth() == read_bandwidth()


def test_warm_ups_and_preparation_are_not_timed() -> None:
    calls: list[str] = []

    def work() -> None:
        calls.append("work")
        sleep(0.05 if calls.count("work") == 1 else 0.001)

    def prepare() -> None:
        calls.append("prepare")
        sleep(0.02)

    timing = timed(work, repeats=3, warmups=1, prepare=prepare)
    assert calls == ["prepare", "work"] * 4
    assert timing.repeats == 3
    assert 0.001 <= timing.minimum <= timing.median <= timing.maximum < 0.02
    assert Timing.of([3.0, 1.0, 2.0]).to_json() == {"median_ms": 2000, "min_ms": 1000, "max_ms": 3000, "repeats": 3}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux has a peak without the parent's")
def test_peak_memory_leaves_out_the_parent_process() -> None:
    large = np.ones(60_000_000)  # 480 MB in the parent process
    code = "from bark_onnx_bench.machine.description import peak_memory_mb; print(peak_memory_mb())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert large[0] == 1
    assert 5 < float(result.stdout) < 300
