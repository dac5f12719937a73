"""Everything that needs a GPU, in one command: tests, parity, figures. Each step is a process of its own.

    python -m bark_onnx_bench.gpu_report DIRECTORY [--device cuda] [--sizes small large] [--results benchmarks/results]

Checkpoints of the published sizes with random weights are made in DIRECTORY and exported in every way that a GPU runs.
A step that fails is a line of the report, and the steps after it are still done.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bark_onnx import Vocabulary, VoicePreset
from bark_onnx.files import replacing

from .machine import machine

BUNDLES = {
    "fp16": ("fp16", "static"),
    "fp16-portable": ("fp16", "portable"),
    "fp32-portable": ("fp32", "portable"),
    **{precision: (precision, "static") for precision in ("bf16", "w8a16", "w4a16")},
}
REFERENCE = "fp32-portable"
FULL_VOICE = 500  # semantic tokens: more than any stage looks back
TIMEOUT = 1800  # seconds of a step
POLL = 0.25  # seconds between two looks at it
_CLI = ("-m", "bark_onnx.command.cli")


@dataclass
class Steps:
    """Runs commands, and keeps what each said at the end, without this machine's paths, and what it took.

    The graphics card's memory counts whatever else is on the card too.
    """

    directory: Path
    done: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, *arguments: str | Path) -> bool:
        """One step by this Python; whether it ended well."""
        print(f"{name} ...", flush=True)
        start = perf_counter()
        command = [sys.executable, *map(str, arguments)]
        peak = 0
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            while (status := process.poll()) is None and perf_counter() - start < TIMEOUT:
                peak = max(peak, card_memory())
                time.sleep(POLL)
            if status is None:
                process.kill()
                process.wait()
            output.seek(0)
            lines = output.read().strip().splitlines()
        if status is None:
            status, lines = -1, [f"not done after {TIMEOUT} s"]
        seconds, said = round(perf_counter() - start, 1), lines[-1] if lines else ""
        said = said.replace(str(self.directory.resolve()), "DIRECTORY").replace(str(self.directory), "DIRECTORY")
        memory = {"card_memory_mb": peak} if peak else {}
        self.done.append({"step": name, "status": status, "seconds": seconds, "said": said, **memory})
        print(f"  {'done' if status == 0 else 'FAILED'} in {seconds} s: {self.done[-1]['said']}", flush=True)
        return status == 0


def graphics_cards() -> list[str]:
    """Name, driver and memory of each, as nvidia-smi says."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()


def card_memory() -> int:
    """Megabytes in use on the first card; 0 where there is none."""
    if shutil.which("nvidia-smi") is None:
        return 0
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return int(said[0]) if said and said[0].isdecimal() else 0


def full_voice(path: Path) -> Path:
    """A voice of random tokens that fills every history."""
    random, space = np.random.default_rng(0), Vocabulary()
    codes = random.integers(0, space.codebook_size, (8, round(FULL_VOICE * space.coarse_rate / space.semantic_rate)))
    VoicePreset(random.integers(0, space.semantic_size, FULL_VOICE), codes[:2], codes).save(path)
    return path


def read(path: Path) -> Any:
    """A step's figures, if it came to write them."""
    return json.loads(path.read_text()) if path.is_file() else None


def measure_size(steps: Steps, size: str, directory: Path, device: str, voice: Path, batch: int) -> dict[str, Any]:
    """Export, bench, compare: one size of the model."""
    checkpoint = directory / f"bark-{size}"
    if not checkpoint.is_dir():
        steps.run(f"{size}: checkpoint", "-m", "bark_onnx_bench.checkpoints", checkpoint, size)
    figures: dict[str, Any] = {}
    exported: dict[str, Path] = {}
    for name, (precision, layout) in BUNDLES.items():
        bundle = directory / f"bark-{size}-{name}"
        way = ["--precision", precision, "--layout", layout, "--force", "--no-verify"]
        if not steps.run(f"{size} {name}: export", *_CLI, "export", checkpoint, bundle, *way):
            continue
        exported[name] = bundle
        out = directory / f"{bundle.name}-bench.json"
        options: list[str | Path] = [
            "--device",
            device,
            "--voice",
            voice,
            "--batch",
            str(batch),
            "--batch-sweep",
            "--fast",
        ]
        steps.run(f"{size} {name}: bench", *_CLI, "bench", bundle, *options, "--json", out)
        figures[name] = {"bench": read(out)}
        out = directory / f"{bundle.name}-choices.json"
        choose = ("-m", "bark_onnx_bench.choices", bundle, "--device", device, "--json", out)
        steps.run(f"{size} {name}: choices", *choose)
        figures[name]["choices"] = read(out)
    for name, bundle in exported.items() if REFERENCE in exported else ():
        if name == REFERENCE:
            continue
        out = directory / f"{bundle.name}-verify.json"
        against: list[str | Path] = ["--against", exported[REFERENCE], "--voice", voice, "--device", device]
        steps.run(f"{size} {name}: verify against fp32", *_CLI, "verify", bundle, *against, "--json", out)
        figures[name]["verify"] = read(out)
    out = directory / f"bark-{size}-peers.json"
    last = ("--device", device, "--static", "--repeats", "3", "--json", out)
    steps.run(f"{size}: peers", "-m", "bark_onnx_bench.peers", checkpoint, *list(exported.values())[:1], *last)
    figures["peers"] = read(out)
    return figures


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", default=["small", "large"], choices=["tiny", "small", "large"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args(words)
    cards = graphics_cards()
    if arguments.device != "cpu" and not cards:
        sys.exit("gpu-report: no GPU answers here (nvidia-smi); --device cpu tries the steps without one")
    if not arguments.results.is_dir():
        sys.exit(f"gpu-report: {arguments.results} is not a directory")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    steps = Steps(arguments.directory)
    if arguments.device != "cpu":
        steps.run("tests on the GPU", "-m", "pytest", "tests/test_cuda.py", "-q", "-rs")
    voice = full_voice(arguments.directory / "full-voice.npz")
    report: dict[str, Any] = {
        "command": f"python -m bark_onnx_bench.gpu_report DIRECTORY --device {arguments.device}",
        "machine": machine(),
        "graphics_cards": cards,
        "sizes": {
            size: measure_size(steps, size, arguments.directory, arguments.device, voice, arguments.batch)
            for size in arguments.sizes
        },
        "steps": steps.done,
    }
    path = arguments.results / f"{arguments.device.replace(':', '-')}-report.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    print(f"wrote {path}")
    failed = [step["step"] for step in steps.done if step["status"]]
    if failed:
        sys.exit(f"gpu-report: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
