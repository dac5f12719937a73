"""Run everything that needs a GPU with one command: tests, parity, figures. Each step is a process of its own.

    python -m bark_onnx_bench.gpu_report DIRECTORY [--device cuda] [--sizes small large] [--results benchmarks/results]

Checkpoints of the published sizes with random weights are written to DIRECTORY and exported in every precision and
layout that runs on a GPU. If a step fails, the report says so and the next steps still run.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bark_onnx import Vocabulary, VoicePreset

from .machine.description import machine
from .machine.graphics import graphics_cards
from .machine.steps import Steps
from .report.figures import write_figures

BUNDLES = {  # from a bundle's name to its precision and KV layout
    "fp16": ("fp16", "static"),
    "fp16-portable": ("fp16", "portable"),
    "fp32-portable": ("fp32", "portable"),
    **{precision: (precision, "static") for precision in ("bf16", "w8a16", "w4a16")},
}
REFERENCE = "fp32-portable"
FULL_VOICE = 500  # semantic tokens, more than the history of any stage
TESTS = "tests/export/test_cuda.py"
_CLI = ("-m", "bark_onnx")


def full_voice(path: Path) -> Path:
    """Write a voice of random tokens, long enough to fill the history of every stage."""
    random, vocabulary = np.random.default_rng(0), Vocabulary()
    frames = round(FULL_VOICE * vocabulary.coarse_rate / vocabulary.semantic_rate)
    codes = random.integers(0, vocabulary.codebook_size, (8, frames))
    VoicePreset(random.integers(0, vocabulary.semantic_size, FULL_VOICE), codes[:2], codes).save(path)
    return path


def read(path: Path) -> Any:
    """Return the figures that a step wrote, or None if it failed before it wrote them."""
    return json.loads(path.read_text()) if path.is_file() else None


def measure_size(steps: Steps, size: str, directory: Path, device: str, voice: Path, batch: int) -> dict[str, Any]:
    """Export one size of the model in every way; bench, verify and compare the bundles."""
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
        options: list[str | Path] = ["--device", device, "--voice", voice, "--batch", str(batch)]
        options += ["--batch-sweep", "--fast", "--json", out]
        steps.run(f"{size} {name}: bench", *_CLI, "bench", bundle, *options)
        figures[name] = {"bench": read(out)}
        out = directory / f"{bundle.name}-choices.json"
        choices = ("-m", "bark_onnx_bench.choices", bundle, "--device", device, "--json", out)
        steps.run(f"{size} {name}: choices", *choices)
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
        sys.exit("gpu-report: nvidia-smi finds no GPU; to try the steps without one, use --device cpu")
    if not arguments.results.is_dir():
        sys.exit(f"gpu-report: {arguments.results} is not a directory")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    steps = Steps(arguments.directory)
    if arguments.device != "cpu":
        steps.run("tests on the GPU", "-m", "pytest", TESTS, "-q", "-rs")
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
    write_figures(path, report)
    print(f"wrote {path}")
    failed = [step["step"] for step in steps.done if step["status"]]
    if failed:
        sys.exit(f"gpu-report: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
