"""Run everything that needs a GPU with one command: tests, parity, figures. Each step is a process of its own.

    python -m bark_onnx_bench.gpu_report DIRECTORY [--device cuda] [--sizes small large] [--results benchmarks/results]

Checkpoints of the published sizes with random weights are written to DIRECTORY and exported in every precision and
layout that runs on a GPU, or bundles are taken from --bundles. The report is written after every step, and what is
measured again replaces what it had, so a run that is stopped keeps all that it has measured. If a step fails, the
report says so and the next steps still run.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bark_onnx import Vocabulary, VoicePreset

from .gpu_plan import Plan, Step
from .machine.description import machine
from .machine.graphics import graphics_cards
from .machine.steps import TIMEOUT, Steps
from .report.figures import write_figures

FULL_VOICE = 500  # semantic tokens, more than the history of any stage
_SAME = ("graphics_cards", "versions")  # what two runs must share to be in one report


def full_voice(path: Path) -> None:
    """Write a voice of random tokens, long enough to fill the history of every stage."""
    random, vocabulary = np.random.default_rng(0), Vocabulary()
    frames = round(FULL_VOICE * vocabulary.coarse_rate / vocabulary.semantic_rate)
    codes = random.integers(0, vocabulary.codebook_size, (8, frames))
    VoicePreset(random.integers(0, vocabulary.semantic_size, FULL_VOICE), codes[:2], codes).save(path)


@dataclass
class Report:
    """The report's file, which is written after every step and keeps the figures of earlier runs."""

    path: Path
    document: dict[str, Any]
    _names: dict[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path, head: dict[str, Any]) -> "Report":
        """Continue the report of earlier runs, or begin one. Exits if that is of another card or other versions."""
        before = json.loads(path.read_text()) if path.is_file() else {"sizes": {}, "steps": []}
        for key in _SAME if path.is_file() else ():
            if _identity(before, key) != _identity(head, key):
                sys.exit(f"gpu-report: {path} has figures of other {key}: move it away, or give another --results")
        names = {step["step"]: place for place, step in enumerate(before["steps"])}
        return cls(path, {**head, "sizes": before["sizes"], "steps": before["steps"]}, names)

    def has(self, step: Step) -> bool:
        """Whether an earlier run has done a step: its record says so, and what it makes is there."""
        place = self._names.get(step.name)
        if step.place and place is not None and self.document["steps"][place]["status"] == 0:
            return True
        return not step.place and step.makes is not None and step.makes.exists()

    def add(self, step: Step, record: dict[str, Any]) -> None:
        """Take a step's record and its figures, and write the file."""
        steps = self.document["steps"]
        place = self._names.setdefault(step.name, len(steps))
        steps[place : place + 1] = [record]
        if step.place and step.makes is not None:
            *keys, last = step.place
            figures = self.document["sizes"]
            for key in keys:
                figures = figures.setdefault(key, {})
            figures[last] = json.loads(step.makes.read_text()) if step.makes.is_file() else None
        self.write()

    def write(self) -> None:
        write_figures(self.path, self.document)


def _identity(document: dict[str, Any], key: str) -> Any:
    return document["machine"][key] if key == "versions" else document[key]


def run(plan: Plan, report: Report, *, only: Sequence[str], skip_existing: bool, budget: float | None) -> list[str]:
    """Run the steps and write the report after each; the names of those that failed.

    Args:
        only: run the steps whose names contain one of these words; empty for all.
        skip_existing: leave out what an earlier run has done.
        budget: seconds after which no step begins, and the running one is stopped.
    """
    steps, start, failed = Steps(plan.directory, plan.bundles), perf_counter(), []
    for step in plan.steps():
        if (only and not any(word in step.name for word in only)) or (skip_existing and report.has(step)):
            continue
        left = TIMEOUT if budget is None else min(TIMEOUT, budget - (perf_counter() - start))
        if left <= 0:
            print(f"the budget of {budget:g} s is spent before {step.name}; --skip-existing goes on from here")
            break
        if missing := [need.name for need in step.needs if not need.exists()]:
            print(f"{step.name}: left out, because there is no {', '.join(missing)}", flush=True)
            continue
        had = report.has(step)
        if step.place and step.makes is not None:
            step.makes.unlink(missing_ok=True)  # the file of an earlier run
        if not steps.run(step.name, *step.command, limit=left):
            if had and steps.stopped and left < TIMEOUT:
                print(f"{step.name}: what an earlier run has measured stays")
                break
            failed.append(step.name)
            if step.makes is not None and step.makes.is_dir():
                shutil.rmtree(step.makes)  # an earlier one, which the steps after this would measure
        report.add(step, steps.done[-1])
    return failed


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", default=["small", "large"], choices=["tiny", "small", "large"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="take the bundles bark-SIZE-NAME from here")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="the steps with one of these in the name")
    parser.add_argument("--skip-existing", action="store_true", help="leave out what an earlier run has done")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="stop after this time")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    cards = graphics_cards()
    if arguments.device != "cpu" and not cards:
        sys.exit("gpu-report: nvidia-smi finds no GPU; to try the steps without one, use --device cpu")
    arguments.directory.mkdir(parents=True, exist_ok=True)  # --results may be the same one
    for directory in (arguments.results, arguments.bundles):
        if directory is not None and not directory.is_dir():
            sys.exit(f"gpu-report: {directory} is not a directory")
    plan = Plan(arguments.directory, arguments.device, arguments.sizes, arguments.batch, arguments.bundles)
    command = f"python -m bark_onnx_bench.gpu_report DIRECTORY --device {arguments.device}"
    head = {"command": command, "machine": machine(), "graphics_cards": cards}
    report = Report.open(arguments.results / f"{arguments.device.replace(':', '-')}-report.json", head)
    full_voice(plan.voice)
    report.write()
    failed = run(plan, report, only=arguments.only, skip_existing=arguments.skip_existing, budget=arguments.budget)
    print(f"wrote {report.path}")
    if failed:
        sys.exit(f"gpu-report: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
