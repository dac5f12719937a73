"""The ledger: what is on the disk is whole at every moment, and a row belongs to one process at a time."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bark_onnx import BarkError
from bark_onnx.jobs.ledger import INSIDE, Ledger
from bark_onnx.jobs.report import read_report
from bark_onnx.jobs.result import Result
from bark_onnx.long.guards import Problem

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")


OPEN = "from pathlib import Path; from bark_onnx.jobs.ledger import Ledger; ledger = Ledger(Path({!r})); "


def audio(line: int) -> bytes:
    return b"audio of row %d" % line * 50


def result(line: int, **changes: Any) -> Result:
    return Result(**{"line": line, "id": f"r{line}", "path": f"r{line}.wav", "seconds": 1.5, "seed": 7} | changes)


def finish(ledger: Ledger, line: int) -> None:
    assert ledger.claim(line)
    ledger.end(result(line), f"r{line}.wav", audio(line))


def lines(directory: Path) -> list[int]:
    return [json.loads(line)["line"] for line in (directory / "results.jsonl").read_text().splitlines()]


def in_another_process(directory: Path, code: str) -> str:
    program = OPEN.format(str(directory)) + code
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return run.stdout.strip()


def test_a_result_is_the_same_after_it_was_written_and_read() -> None:
    one = result(3, problems=(Problem("short", "1 s"),), unknown_words=("日本",), attempts=2, passages=1)
    assert Result.from_json(one.to_json()) == one
    assert "日本" in one.to_json()
    for wrong in (
        "",
        "[]",
        "{}",
        '{"line": 1}',
        '{"line": true, "id": "a"}',
        "[" * 100_000,
        '{"line": 1, "id": "a", "x": 2}',
        one.to_json().replace('"line": 3', '"line": -3'),
        one.to_json().replace('"seconds": 1.5', '"seconds": "x"'),
        one.to_json().replace('"seconds": 1.5', '"seconds": NaN'),
    ):
        with pytest.raises(ValueError, match=r"result|Expecting"):
            Result.from_json(wrong)


def test_rows_that_ended_are_not_claimed_again(tmp_path: Path) -> None:
    with Ledger(tmp_path / "out") as ledger:
        for line in (1, 5, 3):
            finish(ledger, line)
        assert ledger.claim(2)
        ledger.end(result(2, path=None, error="why"), None, b"")
    with Ledger(tmp_path / "out") as ledger:
        ledger.refresh()
        assert [line for line in range(1, 7) if ledger.claim(line)] == [4, 6]
        assert (ledger.ended, ledger.failed) == (4, 1)
        ledger.forget_failed()
        assert (ledger.ended, ledger.failed) == (3, 0)
        assert ledger.claim(2)
    assert lines(tmp_path / "out") == [1, 5, 3]
    assert (tmp_path / "out" / "r5.wav").read_bytes() == audio(5)


def test_a_claim_is_for_one_process_and_is_free_when_that_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", f"from bark_onnx.jobs.ledger import Ledger; from pathlib import Path; "
         f"ledger = Ledger(Path({str(tmp_path)!r})); print(ledger.claim(7), flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    with Ledger(tmp_path) as ledger:
        assert holder.stdout.readline() == "True\n"
        assert [ledger.claim(line) for line in (6, 7, 8)] == [True, False, True]
        assert ledger.elsewhere == {7}
        assert not ledger.any_is_free()
        holder.kill()
        holder.wait()
        assert ledger.any_is_free()
        assert ledger.claim(7)
        assert ledger.elsewhere == set()
        assert in_another_process(tmp_path, "print([ledger.claim(line) for line in (7, 9)])") == "[False, True]"
    holder.stdin.close()
    holder.stdout.close()


def test_results_of_other_processes_are_seen(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        finish(ledger, 1)
        code = "from bark_onnx.jobs.result import Result; ledger.refresh(); print(ledger.claim(1), ledger.claim(2)); "
        code += "ledger.end(Result(2, 'r2', 'r2.wav'), 'r2.wav', b'x')"
        assert in_another_process(tmp_path, code) == "False True"
        assert not ledger.claim(2)  # it ended after this ledger had read the results
        assert (ledger.ended, ledger.elsewhere) == (2, set())
    assert lines(tmp_path) == [1, 2]


@pytest.mark.parametrize("cut", [b'{"line": 2, "id": "r', b"\0" * 5000, b"{" * 9000, b"x"])
def test_a_cut_line_is_removed(tmp_path: Path, cut: bytes) -> None:
    with Ledger(tmp_path) as ledger:
        finish(ledger, 1)
        with ledger.results.open("ab") as file:
            file.write(cut)
        ledger.refresh()
        finish(ledger, 2)
    assert lines(tmp_path) == [1, 2]
    (tmp_path / "results.jsonl").write_bytes(cut)  # the first line, too
    with Ledger(tmp_path) as ledger:
        finish(ledger, 3)
    assert lines(tmp_path) == [3]


def test_a_complete_line_of_something_else_is_an_error(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        finish(ledger, 1)
        ledger.results.write_text("mine\n")
    with Ledger(tmp_path) as ledger, pytest.raises(BarkError, match=r"results.jsonl has a line .* \('mine\\n'\)"):
        ledger.refresh()


def test_a_result_of_a_line_that_the_input_lacks_is_an_error(tmp_path: Path) -> None:
    """It would count as an ended row, or fill the memory."""
    with Ledger(tmp_path) as ledger:
        finish(ledger, 10)
        finish(ledger, 10**7)
    with Ledger(tmp_path, 10) as ledger, pytest.raises(BarkError, match="not a result of this job"):
        ledger.refresh()


def test_results_that_are_no_plain_file_are_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        os.mkfifo(ledger.results)
        with pytest.raises(BarkError, match="not a plain file"):
            ledger.refresh()
        ledger.results.unlink()
        ledger.results.symlink_to(tmp_path / "precious")
        with pytest.raises(BarkError, match="cannot write"):
            ledger.end(result(1, path=None, error="x"), None, b"")
    assert not (tmp_path / "precious").exists()


def test_the_report_leaves_out_a_line_that_a_killed_process_cut(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        finish(ledger, 1)
    with ledger.results.open("ab") as file:
        file.write(b'{"line": 1')
    assert read_report(ledger.results, 1, 0, 1.0).done == 1


# Stopped at any point


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the ledger handles it."""


@contextmanager
def stopped_at(call: int, patch: pytest.MonkeyPatch, stop: Callable[[], BaseException]) -> Iterator[list[str]]:
    """Raise something in place of one of the calls that change files, or before it has done all of its work."""
    calls: list[str] = []

    def patched(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **others: Any) -> Any:
            calls.append(name)
            if len(calls) == call:
                raise stop()
            return original(*arguments, **others)

        patch.setattr(owner, name, counted)

    for owner, name in ((os, "fsync"), (os, "ftruncate"), (Path, "replace"), (Path, "unlink"), (Ledger, "_unlock")):
        patched(owner, name)
    with patch.context():
        yield calls
    patch.undo()


@pytest.mark.parametrize(
    "stop", [Killed, lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))], ids=["kill", "full"]
)
def test_wherever_it_is_stopped_the_disk_is_right_and_the_job_goes_on(
    tmp_path: Path, stop: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    stops, said = 0, set()
    for call in range(1, 30):
        directory = tmp_path / str(call)
        with Ledger(directory) as ledger:
            finish(ledger, 1)
        with Ledger(directory) as ledger, stopped_at(call, monkeypatch, stop) as calls:
            try:
                finish(ledger, 2)
                assert call > len(calls)
            except (Killed, BarkError, OSError) as error:
                stops += 1
                said.add(str(error))
        files = {path.name for path in directory.glob("*.wav")}
        for name in files:
            assert (directory / name).read_bytes() == audio(int(name[1]))
        assert {f"r{line}.wav" for line in lines(directory)} <= files
        with Ledger(directory) as ledger:
            ledger.refresh()
            if ledger.claim(2):
                ledger.end(result(2), "r2.wav", audio(2))
        assert lines(directory) == [1, 2]
        assert [path.name for path in (directory / INSIDE).iterdir()] == ["locks"]
    assert stops >= 5
    assert stop is Killed or any("is the disk full?" in line for line in said)


def test_a_write_that_the_disk_takes_in_part_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As RLIMIT_FSIZE and a full disk do it."""
    import resource

    with Ledger(tmp_path) as ledger:
        finish(ledger, 1)
        size = ledger.results.stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
        try:
            assert ledger.claim(2)
            with pytest.raises(BarkError, match="File too large; is the disk full"):
                ledger.end(result(2, path=None, error="x"), None, b"")
            with pytest.raises(BarkError, match=r"cannot write .*r3\.wav: File too large"):
                ledger.end(result(3), "r3.wav", bytes(size + 100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert lines(tmp_path) == [1]
        assert sorted(path.name for path in tmp_path.rglob("*.wav")) == ["r1.wav"]
        ledger.end(result(2), "r2.wav", audio(2))
    assert lines(tmp_path) == [1, 2]


# What is somebody else's


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(BarkError, match="has files of something else"):
        Ledger(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(BarkError, match="cannot write"):
        Ledger(tmp_path / "holiday.jpg" / "out")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    with Ledger(tmp_path / "out") as ledger:
        (ledger.inside / "4.wav").symlink_to(precious)
        (ledger.directory / "r4.wav").symlink_to(precious)
        finish(ledger, 4)
    assert precious.read_text() == "keep"
    assert (tmp_path / "out" / "r4.wav").read_bytes() == audio(4)
    (tmp_path / "other" / INSIDE).mkdir(parents=True)
    (tmp_path / "other" / INSIDE / "locks").symlink_to(precious)
    with pytest.raises(BarkError, match="cannot write"):
        Ledger(tmp_path / "other")
