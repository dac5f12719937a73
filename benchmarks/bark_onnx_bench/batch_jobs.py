"""Measure a batch job: rows per minute with one process and with several, and the time that a kill costs.

    python -m bark_onnx_bench.batch_jobs [BUNDLE] [--rows N] [--workers N] [--json FILE]

Every job is `bark-onnx batch` in a process of its own, from its start to its end, on rows of about 5 seconds of audio.
The job that is killed has one process. It is killed when half of its rows have ended, and the same command goes on. The
time that this costs is the seconds of both runs beyond those of the job that was not killed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from bark_onnx import Bark
from bark_onnx.errors import BarkError

from .machine.description import machine, machine_line
from .report.figures import write_figures

TEXT = "This is line number {} of a long list, and somebody reads it slowly to all of us."


def write_rows(path: Path, number: int, voices: tuple[str, ...]) -> None:
    """Write a job of this many rows, which take the voices in turn."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(number):
            voice = voices[index % len(voices)] if voices else None
            file.write(json.dumps({"id": f"row-{index}", "text": TEXT.format(index), "voice": voice}) + "\n")


def begin(rows: Path, out: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "bark_onnx", "batch", str(rows), str(out), "--quiet", *options]
    return subprocess.Popen(command)


def run(rows: Path, out: Path, *options: str) -> float:
    """Seconds of a job. Raises BarkError if it fails."""
    start = perf_counter()
    if begin(rows, out, *options).wait():
        raise BarkError("the job failed: see the error above")
    return perf_counter() - start


def run_until(rows: Path, out: Path, ended: int, *options: str) -> float:
    """Seconds of a job that is killed when so many rows have ended."""
    start = perf_counter()
    job = begin(rows, out, *options)
    while job.poll() is None and len(results(out)) < ended:
        sleep(0.02)
    job.kill()
    job.wait()
    return perf_counter() - start


def results(out: Path) -> list[dict[str, Any]]:
    try:
        lines = (out / "results.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def measure_batch_jobs(number: int, workers: int, voices: tuple[str, ...], bundle: Path | None) -> dict[str, Any]:
    """Run the three jobs."""
    options = [] if bundle is None else ["--bundle", str(bundle)]
    with tempfile.TemporaryDirectory() as directory:
        rows, place = Path(directory) / "rows.jsonl", Path(directory)
        write_rows(rows, number, voices)
        one = run(rows, place / "one", *options)
        several = run(rows, place / "several", *options, "--workers", str(workers))
        before = run_until(rows, place / "killed", number // 2, *options)
        after = run(rows, place / "killed", *options)
        audio = sum(float(line["seconds"]) for line in results(place / "one"))
        return {
            "rows": number,
            "audio_seconds_per_row": round(audio / number, 2),
            "workers": workers,
            "seconds": {
                "one": round(one, 2),
                "several": round(several, 2),
                "killed": [round(before, 2), round(after, 2)],
            },
            "rows_per_minute": {"one": round(60 * number / one, 1), "several": round(60 * number / several, 1)},
            "seconds_lost_by_the_kill": round(before + after - one, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        with Bark.load(given.bundle) as bark:
            manifest, voices, here = bark.bundle.manifest, bark.voices[:2], machine()
        print(f"{machine_line(here)}; {manifest.model} {manifest.precision}")
        figures = measure_batch_jobs(given.rows, given.workers, voices, given.bundle)
        print(json.dumps(figures, indent=2))
        if given.json is not None:
            bundle = [] if given.bundle is None else [given.bundle.name]
            command = [
                "python -m bark_onnx_bench.batch_jobs",
                *bundle,
                f"--rows {given.rows}",
                f"--workers {given.workers}",
            ]
            about = {
                "command": " ".join(command),
                "machine": here,
                "bundle": {"model": manifest.model, "precision": manifest.precision},
            }
            write_figures(given.json, about | figures)
    except BarkError as error:
        parser.exit(1, f"Error: {error}\n")


if __name__ == "__main__":
    main()
