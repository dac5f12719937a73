"""Several processes that share a batch job, each with a Bark of its own.

A process runs `main` of this file. It reads the job as one line of JSON on its standard input, and works until
every row has a result. It ends at once when its standard input does: then the process that started it has ended. Before
it fails, it writes the reason to its standard output.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any

from ..errors import BarkError, is_out_of_memory, one_line, reason, warn
from .job import BatchJob
from .ledger import Ledger
from .running import WAIT, run_rows

_PROGRAM = f"from {__name__} import main; main()"


def run_processes(job: BatchJob, ledger: Ledger, number: int, count: Callable[[float], None]) -> None:
    """Run a job in this many processes. If one is stopped, the others speak its rows.

    Args:
        count: is told how many rows have ended.

    Raises BarkError if rows are left when all processes have ended.
    """
    if sys.platform == "win32":
        raise BarkError("several processes cannot share a job on Windows: use one")
    about = {"job": job.to_json(), "directory": str(ledger.directory), "processes": number}
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(number):
            processes.append(_start(about))
        while any(process.poll() is None for process in processes):
            sleep(WAIT)
            ledger.refresh()
            count(ledger.ended)
    finally:
        _end(processes)
    ledger.refresh()
    failures = [_failure(process) for process in processes if process.returncode]
    if ledger.ended < job.rows:
        raise BarkError(failures[0] if failures else "rows are left, although all processes have ended")
    if failures:
        warn(f"{len(failures)} of {number} processes failed, and the others spoke their rows: {failures[0]}")


def _start(about: dict[str, Any]) -> "subprocess.Popen[str]":
    paths = [path or str(Path.cwd()) for path in sys.path]  # the modules of this process, and no others
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(about) + "\n")
        process.stdin.flush()
    except BaseException:
        process.kill()
        raise
    return process


def _end(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """End processes that still work. They may be stopped at any point."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _failure(process: "subprocess.Popen[str]") -> str:
    """Why a process failed, in one line."""
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read().strip()
    if said:
        return one_line(said)
    status = process.returncode
    return f"a process was ended by signal {-status}" if status < 0 else f"a process ended with status {status}"


def main() -> None:
    """Work on the job that is on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    about = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    job = BatchJob.from_json(about["job"])
    try:
        with Ledger(Path(about["directory"]), job.last_line) as ledger, job.options.load() as bark:
            run_rows(bark, job, ledger, about["processes"])
    except Exception as error:
        if not isinstance(error, (BarkError, OSError)) and not is_out_of_memory(error):
            raise
        print(reason(error), flush=True)
        sys.exit(1)


def _end_with_the_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)
