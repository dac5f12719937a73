"""Jobs that are killed, and jobs that several processes share: every process and every signal is a real one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bark_onnx import BarkError, BatchReport, run_batch
from bark_onnx.jobs import processes
from bark_onnx.jobs.ledger import INSIDE
from batches import Batch, contents, results
from run_command import COMMAND, Argument

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")

# The command, with a pause before each row ends. Also a pause in the middle of each write of audio.
SLOW = """
import os, time
from bark_onnx.__main__ import main
from bark_onnx.jobs import running
from bark_onnx.jobs.ledger import Ledger

end, fsync = Ledger.end, os.fsync

def end_slowly(self, *arguments):
    time.sleep(0.03)
    end(self, *arguments)

def fsync_slowly(file):
    time.sleep(0.01)
    fsync(file)

Ledger.end, os.fsync = end_slowly, fsync_slowly
main()
"""
SLOWLY = [sys.executable, "-c", SLOW]


def arguments(batch: Batch, out: Path, *more: Argument) -> list[Argument]:
    bundle = str(batch.options.bundle)
    return [
        "batch", batch.source, out, "--bundle", bundle, "--device", "cpu", "--threads", "1", "--slots", "2", "-q", *more
    ]  # fmt: skip


@contextmanager
def begun(batch: Batch, out: Path, *more: Argument, command: list[str] = SLOWLY) -> Iterator["subprocess.Popen[bytes]"]:
    """A job in a process of its own, once it has a result."""
    process = subprocess.Popen(
        [*command, *arguments(batch, out, *more)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    try:
        wait_for(lambda: (out / "results.jsonl").exists() or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def assert_whole(batch: Batch, out: Path) -> None:
    """What has its final name is what it will be; each result has its audio; no result is there twice."""
    expected = contents(batch.directory)
    found = contents(out)
    assert found.items() <= expected.items()
    lines = (out / "results.jsonl").read_bytes().split(b"\n")[:-1]
    assert len(set(lines)) == len(lines)
    assert {line["path"] for line in results_so_far(out)} - {None} <= found.keys()


def results_so_far(out: Path) -> list[dict[str, object]]:
    whole = out / "whole"
    whole.mkdir(exist_ok=True)
    content = (out / "results.jsonl").read_bytes()
    (whole / "results.jsonl").write_bytes(content[: content.rfind(b"\n") + 1])
    found = results(whole)
    (whole / "results.jsonl").unlink()
    whole.rmdir()
    return found


def test_a_job_that_is_killed_again_and_again_ends_as_if_it_had_not_been(batch: Batch, tmp_path: Path) -> None:
    out, rng, kills, made = tmp_path / "out", random.Random(4), 0, 0
    while True:
        with begun(batch, out) as process:
            wait_for(lambda least=made: process.poll() is not None or len(contents(out)) > least)
            time.sleep(rng.uniform(0, 0.12))
            if process.poll() is not None or kills == 4:
                assert process.wait(60) == 3
                break
            process.kill()
        kills += 1
        assert_whole(batch, out)
        assert made <= len(contents(out))
        made = len(contents(out))
    assert kills >= 3
    batch.assert_same(out)
    assert sorted(path.name for path in (out / INSIDE).iterdir()) == ["job.json", "locks"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_the_same_command_goes_on(
    batch: Batch, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    with begun(batch, out) as process:
        process.send_signal(number)
        start = time.monotonic()
        _, said = process.communicate(timeout=30)
        assert time.monotonic() - start < 5
        assert b"Traceback" not in said
        assert process.returncode == (1 if number == signal.SIGINT else -number)
    assert_whole(batch, out)
    assert len(results_so_far(out)) < len(results(batch.directory))
    assert run_batch(batch.source, out, batch.options).failed == 3
    batch.assert_same(out)


def test_the_same_command_twice_shares_the_job(batch: Batch, tmp_path: Path) -> None:
    """Also if one of the two is killed: the other one makes its rows and ends."""
    out = tmp_path / "out"
    with begun(batch, out) as first, begun(batch, out) as second:
        time.sleep(0.1)
        first.kill()
        first.wait()
        assert second.wait(60) == 3
    batch.assert_same(out)
    assert len(results(out)) == 18


def test_several_workers_share_the_job_and_one_may_be_killed(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    started: list[subprocess.Popen[str]] = []
    start = processes._start

    def note(about: dict[str, object]) -> "subprocess.Popen[str]":
        started.append(start(about))
        return started[-1]

    def kill_one(progress: object) -> None:
        if progress.done > 3 and started[0].poll() is None:  # type: ignore[attr-defined]
            started[0].kill()

    monkeypatch.setattr(processes, "_start", note)
    monkeypatch.setattr(processes, "WAIT", 0.001)
    with pytest.warns(
        match="1 of 2 processes failed, and the others spoke their rows: a process was ended by signal 9"
    ):
        report = run_batch(batch.source, out, batch.options, workers=2, progress=kill_one)
    assert isinstance(report, BatchReport)
    assert (report.done, report.failed, report.made) == (15, 3, 18)
    batch.assert_same(out)


def test_workers_end_with_the_process_that_started_them(batch: Batch, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = tmp_path / "rows.jsonl"
    source.write_text(batch.source.read_text().replace("0.3", "8"))
    with begun(replace(batch, source=source), out, "--workers", "2", command=COMMAND) as process:
        children = [int(name) for name in children_of(process.pid)]
        assert len(children) == 2
        process.kill()
        process.wait()
        wait_for(lambda: not any(map(alive, children)), seconds=10)
    assert len(results_so_far(out)) < 18


def children_of(process: int) -> list[str]:
    path = Path(f"/proc/{process}/task/{process}/children")
    if not path.exists():
        pytest.skip("this system does not list the children of a process")
    return path.read_text().split()


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_an_error_of_the_workers_is_one_error(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "out"
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))  # less than a row of audio
    try:
        with pytest.raises(BarkError, match=r"cannot write .*: File too large; is the disk full\?"):
            run_batch(batch.source, out, batch.options, workers=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(out) == {}
    assert run_batch(batch.source, out, batch.options).done == 15
    batch.assert_same(out)
