"""The server of a soak: a process of its own, and what it holds."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep

_COMMAND = (
    "from bark_onnx_serve.cli import serve; from bark_onnx.command.cli import main; main.add_command(serve); main()"
)
LONGEST_END = 30.0  # seconds


@dataclass(frozen=True)
class Footprint:
    """What a process holds.

    Args:
        memory_mib: resident.
        peak_mib: the most that has been resident.
        threads: of the process.
        files: open descriptors.
        temporary: files in its directory for temporary ones.
    """

    memory_mib: float
    peak_mib: float
    threads: int
    files: int
    temporary: int


class SoakedServer:
    """A server process.

    Args:
        temporary: its directory for temporary files.
    """

    def __init__(self, process: "subprocess.Popen[str]", port: int, temporary: Path) -> None:
        self.process = process
        self.port = port
        self._temporary = temporary

    def footprint(self) -> Footprint:
        """What the process holds now. Linux only."""
        directory = Path("/proc", str(self.process.pid))
        status = (directory / "status").read_text(encoding="ascii")
        return Footprint(
            memory_mib=_of("VmRSS", status) / 1024,
            peak_mib=_of("VmHWM", status) / 1024,
            threads=_of("Threads", status),
            files=len(list((directory / "fd").iterdir())),
            temporary=sum(1 for _ in self._temporary.rglob("*")),
        )

    def metrics(self) -> dict[str, float]:
        """The figures of /metrics, by name and labels."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is left of any request; False if something is left after so many seconds."""
        end = monotonic() + seconds
        while not _is_idle(self.metrics()):
            if monotonic() > end:
                return False
            sleep(0.02)
        return True


def _of(name: str, status: str) -> int:
    return int(re.findall(rf"{name}:\s+(\d+)", status)[0])


def _is_idle(metrics: dict[str, float]) -> bool:
    rows = [value for name, value in metrics.items() if name.startswith("bark_onnx_active_rows")]
    left = ("bark_onnx_requests_in_progress", "bark_onnx_queue_length", "bark_onnx_backlog_seconds")
    return not any(rows) and not any(metrics[name] for name in left)


@contextmanager
def serving(arguments: Sequence[str]) -> Iterator[SoakedServer]:
    """Start `bark-onnx serve` on a free port. The process must end well at the end of the block."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as log:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TMPDIR": directory,
            "BARK_ONNX_CACHE": str(Path(directory, "cache")),
        }
        command = [sys.executable, "-c", _COMMAND, "serve", "--port", "0", *arguments]
        process = subprocess.Popen(command, stderr=log, text=True, env=environment)
        try:
            yield SoakedServer(process, _port(process, log.fileno()), Path(directory))
            process.terminate()
            process.wait(LONGEST_END)
        finally:
            process.kill()
            process.wait()


def _port(process: "subprocess.Popen[str]", log: int) -> int:
    """Wait for the line of the log that has the port."""
    while True:
        text = os.pread(log, 1 << 16, 0).decode()
        if found := re.search(r" at http://127\.0\.0\.1:(\d+)", text):
            return int(found[1])
        if process.poll() is not None:
            sys.exit(f"soak: the server did not start: {text}")
        sleep(0.01)
