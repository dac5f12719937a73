"""Run commands one after another, each in a process of its own, and record how each one ended."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from .graphics import card_memory

TIMEOUT = 1800  # seconds until a step is killed
POLL = 0.25  # seconds between two checks whether a step has ended
LONGEST_LINE = 300  # characters of the last line of output in a record; the log has all of it
QUERY = 2.0  # seconds between two questions to nvidia-smi, which takes a part of one itself


@dataclass
class Steps:
    """Runs commands and keeps a record of each: status, seconds, last line of output, graphics memory.

    Args:
        directory: what the commands print is written to its folder `logs`. The word DIRECTORY replaces its path in the
            recorded lines, so that they hold no path of this machine.
        bundles: the word BUNDLES replaces its path in the same way.
        stopped: whether the last step was killed because it took longer than its limit.
        done: one record per step. `card_memory_mb` is the most memory in use on the first graphics card during the
            step, by all processes together.
    """

    directory: Path
    bundles: Path | None = None
    stopped: bool = False
    done: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, *arguments: str | Path, limit: float = TIMEOUT) -> bool:
        """Run this Python with `arguments` for at most `limit` seconds; return whether the exit status was 0."""
        print(f"{name} ...", flush=True)
        start = perf_counter()
        command = [sys.executable, "-u", *map(str, arguments)]  # the log then has all lines of a command that is killed
        peak, asked = 0, -QUERY
        log = self.directory / "logs" / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            while (status := process.poll()) is None and perf_counter() - start < limit:
                if perf_counter() - start - asked >= QUERY:
                    asked = perf_counter() - start
                    peak = max(peak, card_memory())
                time.sleep(POLL)
            if status is None:
                process.kill()
                process.wait()
        lines = log.read_text(errors="replace").strip().splitlines()
        self.stopped = status is None
        if status is None:
            status, lines = -1, [f"killed after {limit:.3g} s"]
        seconds, last_line = round(perf_counter() - start, 1), self._recorded(lines[-1] if lines else "")
        memory = {"card_memory_mb": peak} if peak else {}
        self.done.append({"step": name, "status": status, "seconds": seconds, "last_line": last_line, **memory})
        print(f"  {'done' if status == 0 else f'FAILED ({log})'} in {seconds} s: {last_line}", flush=True)
        return status == 0

    def _recorded(self, line: str) -> str:
        """A line as the record has it: without paths of this machine, and not longer than LONGEST_LINE."""
        for directory, word in ((self.bundles, "BUNDLES"), (self.directory, "DIRECTORY")):
            if directory is not None:
                line = line.replace(str(directory.resolve()), word).replace(str(directory), word)
        return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."
