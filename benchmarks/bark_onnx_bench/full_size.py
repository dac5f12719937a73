"""Measure a published size with random weights, from checkpoint to speech: the cost of export and of generation.

    python -m bark_onnx_bench.full_size small|large DIRECTORY [--precision int8] [--voice FILE] [--json FILE]

Each step runs in a process of its own, so that its peak memory can be measured.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from .machine.description import machine
from .report.figures import write_figures


def run(*command: str) -> dict[str, float]:
    """Run this Python with `command` to its end; return its wall time and peak memory."""
    print("$", *command, flush=True)
    start = perf_counter()
    process = subprocess.Popen([sys.executable, *command])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"full_size: {' '.join(command[:3])} failed; its messages are above")
    figures = {"seconds": round(perf_counter() - start, 1), "peak_memory_mb": round(usage.ru_maxrss * 1024 / 1e6)}
    print(f"  {figures['seconds']} s, peak memory {figures['peak_memory_mb']} MB", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=["small", "large"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--voice", help="an .npz file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    checkpoint = arguments.directory / f"bark-{arguments.size}"
    bundle = arguments.directory / f"bark-{arguments.size}-{arguments.precision}"
    figures_file = arguments.directory / "bench.json"
    voice = ["--voice", arguments.voice] if arguments.voice else []

    arguments.directory.mkdir(parents=True, exist_ok=True)
    if not checkpoint.is_dir():
        run("-m", "bark_onnx_bench.checkpoints", str(checkpoint), arguments.size)
    cli = ("-m", "bark_onnx")
    ways = ("--precision", arguments.precision, "--over-limit", "--force")
    exported = run(*cli, "export", str(checkpoint), str(bundle), *ways)
    spoken = run(
        *cli, "say", "Hello, this is a test.", "--bundle", str(bundle), "--max-seconds", "5", "--seed", "1",
        "-o", str(arguments.directory / "hello.wav"), *voice,
    )  # fmt: skip
    run(*cli, "bench", str(bundle), "--json", str(figures_file), "--repeats", str(arguments.repeats), *voice)
    # Imported after the steps: it loads torch, and the peak memory of a child includes that of its parent at the fork.
    from .checkpoints.configuration import SIZES

    result = {
        "command": f"python -m bark_onnx_bench.full_size {arguments.size} DIRECTORY --precision {arguments.precision}",
        "bundle_mb": round(sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) / 1e6),
        "machine": machine(),
        "size": asdict(SIZES[arguments.size]),
        "export": exported,
        "say": spoken,
        "bench": json.loads(figures_file.read_text()),
    }
    if arguments.json:
        write_figures(arguments.json, result)


if __name__ == "__main__":
    main()
