"""The server on Ray, in real processes: replicas that tests can slow down and kill."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bark_onnx.jobs.job import BatchOptions
from bark_onnx_serve.ray.arguments import Arguments
from bark_onnx_serve.ray.data import _SpeakRows
from bark_onnx_serve.ray.replica import Replica
from serving import until

PLACE = "BARK_ONNX_TEST_REPLICAS"  # the directory in which replicas say that they are there
TOKEN = secrets.token_hex()  # a process reads it once. Without it, Ray keeps one in the user's home directory
STEP_SECONDS = 0.003  # that each step of an engine takes longer


@contextmanager
def rays_environment() -> Iterator[Path]:
    """What Ray's processes inherit. Gives a new directory, and at the end checks that no process is left.

    The directory's path is short, since Ray has sockets below it.
    """
    directory = Path(tempfile.mkdtemp(prefix="ray-"))
    given = {
        PLACE: str(directory),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_TOKEN": TOKEN,
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield directory
        until(lambda: processes_with(f"{PLACE}={directory}") == set(), 30)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for process in processes_with(f"{PLACE}={directory}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


def processes_with(setting: str) -> set[int]:
    """Processes other than this one that began with a setting such as NAME=value in their environment."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and setting.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found - {os.getpid()}


class SlowReplica(Replica):
    """A replica whose engine takes its time, and dies when its test says so."""

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        engine = self._service.worker._engine
        step, here = engine.step, Path(os.environ[PLACE])
        killed, works = here / f"kill-{os.getpid()}", here / f"works-{os.getpid()}"

        def slow() -> bool:
            works.touch()
            time.sleep(STEP_SECONDS)
            assert not killed.exists(), "killed by a test"
            return step()

        engine.step = slow  # type: ignore[method-assign]
        (here / f"replica-{os.getpid()}").touch()


class SlowSpeaker(_SpeakRows):
    """An actor of a batch job whose engine takes its time."""

    def __init__(self, options: BatchOptions) -> None:
        super().__init__(options)
        step = self._worker._engine.step

        def slow() -> bool:
            time.sleep(STEP_SECONDS)
            return step()

        self._worker._engine.step = slow  # type: ignore[method-assign]


class Replicas:
    """The replicas of an application, as their processes show themselves."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def processes(self) -> set[int]:
        """Those that have loaded their model and live."""
        begun = {int(path.name.removeprefix("replica-")) for path in self._directory.glob("replica-*")}
        return {process for process in begun if Path(f"/proc/{process}").exists()}

    @property
    def work(self) -> bool:
        """Whether an engine has made a step just now."""
        return any(time.time() - path.stat().st_mtime < 0.1 for path in self._directory.glob("works-*"))

    def kill(self) -> int:
        """Kill one, as a machine that fails does. Returns which."""
        process = min(self.processes)
        os.kill(process, signal.SIGKILL)
        return process

    def kill_engine(self) -> int:
        """Let the engine of one die at its next step. Returns which."""
        process = min(self.processes)
        (self._directory / f"kill-{process}").touch()
        return process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def figures(text: str) -> dict[str, float]:
    """The lines of a page of /metrics."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def start_ray(directory: Path, **options: Any) -> None:
    """Start Ray on this machine, for itself."""
    import ray

    ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=str(directory), **options)
