"""Run commands one after another, each in a process of its own, and record how each one ended."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from .graphics import card_memory

TIMEOUT = 1800  # seconds until a step is killed
POLL = 0.25  # seconds between two checks whether a step has ended


@dataclass
class Steps:
    """Runs commands and keeps a record of each: status, seconds, last line of output, graphics memory.

    Args:
        directory: replaced by the word DIRECTORY in the recorded lines, so that they hold no path of this machine.
        done: one record per step. `card_memory_mb` is the most memory in use on the first graphics card during the
            step, by all processes together.
    """

    directory: Path
    done: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, *arguments: str | Path) -> bool:
        """Run this Python with `arguments`; return whether the exit status was 0."""
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
            status, lines = -1, [f"killed after {TIMEOUT} s"]
        seconds, last_line = round(perf_counter() - start, 1), self._without_paths(lines[-1] if lines else "")
        memory = {"card_memory_mb": peak} if peak else {}
        self.done.append({"step": name, "status": status, "seconds": seconds, "last_line": last_line, **memory})
        print(f"  {'done' if status == 0 else 'FAILED'} in {seconds} s: {last_line}", flush=True)
        return status == 0

    def _without_paths(self, line: str) -> str:
        return line.replace(str(self.directory.resolve()), "DIRECTORY").replace(str(self.directory), "DIRECTORY")
