"""Measure a fresh process: the time until its first token, and the memory of a whole generation.

    python -m bark_onnx_bench.measure.startup BUNDLE DEVICE THREADS [--whole | --low-memory]

is the process that is measured. With THREADS 0, ONNX Runtime chooses the number of threads. With --whole or
--low-memory the process generates the whole workload.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from bark_onnx.errors import BarkError

from ..machine.description import peak_memory_mb
from ..machine.timing import Timing

MARKS = ("imported", "loaded", "first token")


@dataclass(frozen=True)
class StartMeasurement:
    """The figures of fresh processes whose files are in the system's cache.

    Args:
        seconds: from the start of the process until it has imported the package, loaded the bundle, and generated its
            first token.
        peak_memory_mb: resident memory of a process that generates the workload.
        low_memory: the same with `low_memory`, which keeps only one network in memory at a time; and its time
            divided by the time without it.
    """

    seconds: dict[str, Timing]
    peak_memory_mb: float
    low_memory: tuple[float, float]

    @property
    def load_seconds(self) -> float:
        return self.seconds["loaded"].median - self.seconds["imported"].median

    def to_json(self) -> dict[str, Any]:
        marks = {f"until_{mark.replace(' ', '_')}": timing.to_json() for mark, timing in self.seconds.items()}
        return {
            **marks,
            "load_ms": round(1e3 * self.load_seconds, 1),
            "peak_memory_mb": round(self.peak_memory_mb),
            "low_memory": {"peak_memory_mb": round(self.low_memory[0]), "time": round(self.low_memory[1], 2)},
        }


def measure_start(bundle: Path, device: str, threads: int | None, starts: int) -> StartMeasurement:
    """Start `starts` processes and time their first token.

    Two processes that generate the whole workload run before them. They also bring the files into the system's cache.
    """
    ways = [_run([str(bundle), device, str(threads or 0), way])[-2:] for way in ("--whole", "--low-memory")]
    (peak, seconds), (low_peak, low_seconds) = ([float(line) for line, _ in lines] for lines in ways)
    runs = [_run([str(bundle), device, str(threads or 0)]) for _ in range(starts)]
    marks = {mark: Timing.of(run[n][1] for run in runs) for n, mark in enumerate(MARKS)}
    return StartMeasurement(marks, peak, (low_peak, low_seconds / seconds))


def _run(arguments: Sequence[str]) -> list[tuple[str, float]]:
    """Run the process; return each line it prints and how many seconds after the start it was printed."""
    lines = []
    start = perf_counter()
    command = [sys.executable, "-m", "bark_onnx_bench.measure.startup", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            lines.append((line.strip(), perf_counter() - start))
        errors = process.stderr.read().strip()
    if process.returncode:
        reason = errors.splitlines()[-1] if errors else f"exit status {process.returncode}"
        raise BarkError(f"a fresh process failed before its figures were complete: {reason}")
    return lines


def main() -> None:
    bundle, device, threads, *whole = sys.argv[1:]
    try:
        _speak(bundle, device, int(threads) or None, whole)
    except BarkError as error:
        sys.exit(str(error))


def _speak(bundle: str, device: str, threads: int | None, whole: Sequence[str]) -> None:
    from bark_onnx import Bark, GenerationOptions

    def mark(line: str) -> None:
        print(line, flush=True)

    mark(MARKS[0])
    bark = Bark.load(bundle, device=device, threads=threads, low_memory="--low-memory" in whole)
    mark(MARKS[1])
    bark.semantic("Hello.", options=GenerationOptions(allow_early_stop=False, max_seconds=1e-9), seed=0)  # one token
    mark(MARKS[2])
    if whole:
        from .workload import run_once

        speech = run_once(bark, None, seed=0)
        mark(str(peak_memory_mb()))
        mark(str(sum(speech.timings.values())))


if __name__ == "__main__":
    main()
