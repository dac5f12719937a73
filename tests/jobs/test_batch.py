"""A batch job from its input to its results, in one process."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner

from bark_onnx import (
    BadRow,
    Bark,
    BarkError,
    BatchOptions,
    GenerationOptions,
    NarrationOptions,
    Progress,
    Row,
    run_batch,
    speak_rows,
)
from bark_onnx.command.cli import main
from bark_onnx.engine.worker import Worker
from bark_onnx.jobs.job import FORMAT_REVISION
from bark_onnx.jobs.ledger import INSIDE
from bark_onnx.jobs.row import derived_seed
from bark_onnx.jobs.speaking import AHEAD
from bark_onnx.long.guards import Guards
from batches import EARLY, ROWS, Batch, results
from run_command import assert_fails, run

ALONE = GenerationOptions(**EARLY)


def test_every_row_is_what_the_model_makes_of_it_alone(batch: Batch) -> None:
    found = results(batch.directory)
    assert [line["line"] for line in found] == [*range(1, len(ROWS) + 2)]
    spoken = 0
    with Bark.load(batch.options.bundle, device="cpu", threads=1) as bark:
        for line, row in zip(found, ROWS, strict=False):
            if line["path"] is None:
                continue
            spoken += 1
            narration = NarrationOptions() if row.get("id") == "long" else None
            seed = row.get("seed", derived_seed(0, str(line["id"])))
            alone = bark.generate(row["text"], seed=seed, options=ALONE, narration=narration)
            assert line["seed"] == seed
            assert line["seconds"] == round(alone.duration, 3)
            assert (batch.directory / str(line["path"])).read_bytes() == alone.encode()
    assert spoken == len(ROWS) - 2


def test_results_say_what_became_of_each_row(batch: Batch) -> None:
    found = {str(line["id"]): line for line in results(batch.directory)}
    assert "no text" in found["no text"]["error"]
    assert "no voice 'nobody'" in found["who"]["error"]
    assert "not JSON" in found["000018"]["error"]
    assert found["000015"]["path"] == "000015.wav"
    assert found["row 3"] == {
        "line": 4, "id": "row 3", "path": "row 3.wav", "seconds": found["row 3"]["seconds"],
        "seed": derived_seed(0, "row 3"), "attempts": 1, "passages": 1, "problems": [], "unknown_words": [],
        "compute_seconds": 0, "error": None,
    }  # fmt: skip
    assert found["long"]["passages"] == 9
    assert found["long"]["attempts"] > 18  # none ended by itself
    assert "runaway" in {problem["name"] for problem in found["long"]["problems"]}


def test_a_job_that_has_ended_makes_nothing_again(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in batch.directory.rglob("*")}
    monkeypatch.setattr(Bark, "load", None)
    report = run_batch(batch.source, batch.directory, batch.options)
    assert (report.rows, report.done, report.failed, report.made) == (18, 15, 3, 0)
    assert {path: path.stat().st_mtime_ns for path in batch.directory.rglob("*")} == before


def test_another_job_is_refused_and_says_what_differs(batch: Batch, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "rows.jsonl"
    other.write_text(batch.source.read_text() + "\n")
    options = batch.options
    kept = json.loads((batch.directory / INSIDE / "job.json").read_text())
    assert (kept["revision"], kept["format"]) == (FORMAT_REVISION, "wav")
    changes: dict[str, tuple[Path, BatchOptions]] = {
        "input": (other, options),
        "seed": (batch.source, replace(options, seed=1)),
        "top_k": (batch.source, replace(options, generation=GenerationOptions(top_k=3))),
        "retries": (batch.source, replace(options, narration=NarrationOptions(guards=Guards(retries=1)))),
        "sample_rate": (batch.source, replace(options, sample_rate=8000)),
        "bundle": (batch.source, replace(options, bundle=str(bundle))),
        "threads": (batch.source, replace(options, threads=2)),
    }
    for name, (source, changed) in changes.items():
        with pytest.raises(BarkError, match=rf"holds another job \(other {name}\)"):
            run_batch(source, batch.directory, changed)
    run_batch(batch.source, batch.directory, replace(options, slots=5, threads=None))  # which change nothing
    assert len(results(batch.directory)) == 18


def test_ids_are_checked_before_anything_is_spoken(short_bundle: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "out"
    options = BatchOptions(bundle=str(short_bundle), device="cpu", threads=1)
    for ids, said in (
        (["a", "../b"], "line 2: the id '../b' has '/'"),
        (["a", 3.5], "line 2: the id must be a string or a whole number, not float"),
        (["a", "b", "A"], "lines 1 and 3 have ids that are one file"),
        ([None, "000001"], "lines 1 and 2 have the same id"),
    ):
        source.write_text("".join(json.dumps({"id": name, "text": "hello"}) + "\n" for name in ids))
        with pytest.raises(BarkError) as caught:
            run_batch(source, out, options)
        assert said in str(caught.value)
        assert not out.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ('{"txt": "hello"}\n', r"line 1: no text \(column 'text'\)"),
        ("hello\n", "line 1: .*not JSON"),
    ],
)
def test_a_file_without_a_row_to_speak_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(BarkError, match=f"has no row that can be spoken.*{said}"):
        run_batch(tmp_path / "rows.jsonl", tmp_path / "out")


def test_a_column_that_is_nearly_an_option_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "hello", "text_temprature": 0.1, "lang": "en", "voice": 3}\n')
    with pytest.raises(BarkError, match="the voice must be a string"):
        run_batch(tmp_path / "rows.jsonl", tmp_path / "out")
    (tmp_path / "rows.jsonl").write_text('{"text": "hello", "text_temprature": 0.1, "lang": "en"}\n')
    with (
        pytest.warns(match="'text_temprature' is not read: did you mean 'text_temperature'?"),
        pytest.raises(BarkError),
    ):
        run_batch(tmp_path / "rows.jsonl", tmp_path / "out", BatchOptions(format="wav"), workers=1, progress=_stop)


def _stop(progress: Progress) -> None:
    raise BarkError("enough")


def test_failed_rows_are_spoken_again_when_that_is_asked_for(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a lack of memory. The results then have one line for each row."""
    admit = Worker.admit

    def failing(self: Worker, request: Any, **arguments: Any) -> Any:
        if "7" in request.text:
            raise MemoryError("out of memory")
        return admit(self, request, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "admit", failing)
        first = run_batch(batch.source, tmp_path / "out", batch.options)
    assert (first.done, first.failed) == (14, 4)
    assert run_batch(batch.source, tmp_path / "out", batch.options).made == 0
    second = run_batch(batch.source, tmp_path / "out", batch.options, retry_failed=True)
    assert (second.done, second.failed, second.made) == (15, 3, 4)
    batch.assert_same(tmp_path / "out")


def test_rows_are_taken_while_there_is_room(short: Bark) -> None:
    """A million rows do not fill the memory."""
    taken = ended = 0

    def rows() -> Iterator[Row | BadRow]:
        nonlocal taken
        for number in range(30):
            taken += 1
            assert taken - ended <= AHEAD * 2
            if number % 7 == 3:
                yield BadRow(number, str(number), "bad")
            else:
                yield Row(number, str(number), "hello", seed=number, options=ALONE)

    for spoken in speak_rows(short, rows(), slots=2):
        ended += 1
        assert (spoken.speech is None) == isinstance(spoken.row, BadRow)
    assert (taken, ended) == (30, 30)


def test_many_bad_rows_in_a_row_do_not_end_the_job(short: Bark) -> None:
    bad = [BadRow(number, str(number), "bad") for number in range(3 * AHEAD)]
    good = Row(99, "good", "hello", options=ALONE)
    assert sum(1 for _ in speak_rows(short, [*bad, good, *bad], slots=1, share=lambda: 1)) == 6 * AHEAD + 1


def test_a_caller_that_stops_early_stops_the_work(short: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Worker] = []
    close = Worker.close
    monkeypatch.setattr(Worker, "close", lambda self, **how: closed.append(self) or close(self, **how))
    rows = (Row(number, str(number), "hello", options=ALONE) for number in range(1000))
    for _ in speak_rows(short, rows, slots=2):
        break
    assert [worker.alive for worker in closed] == [False]


@pytest.mark.parametrize("name", ["flac", "ogg", "opus", "mp3", "pcm", "aac"])
def test_every_format_has_the_same_bytes_again(name: str, short_bundle: Path, tmp_path: Path) -> None:
    if name == "aac":
        pytest.importorskip("av")
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps({"id": "a", "text": "hello", **EARLY}))
    options = BatchOptions(bundle=str(short_bundle), device="cpu", threads=1, format=name, sample_rate=16_000, slots=1)
    for out in ("one", "two"):
        run_batch(source, tmp_path / out, options)
    content = (tmp_path / "one" / f"a.{name}").read_bytes()
    assert content == (tmp_path / "two" / f"a.{name}").read_bytes()
    if name not in ("pcm", "aac"):  # which soundfile does not read
        assert soundfile.info(tmp_path / "one" / f"a.{name}").samplerate == 16_000


# The command


def test_what_is_said_of_a_single_row(short_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `text`, it also says that numbers are not read as words, unless that was asked for."""
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "text": "hello", "max_seconds": 0.3, "seed": 7}\n')
    command = ["batch", str(tmp_path / "rows.jsonl"), str(tmp_path / "out"), "--device", "cpu", "--threads", "1"]
    for module in ("command.batch", "jobs.job"):
        monkeypatch.setattr(f"bark_onnx.{module}.missing", lambda: ("num2words",))
    command += ["--bundle", str(short_bundle)]
    first, off = (CliRunner().invoke(main, [*command, *more]) for more in ([], ["--normalize", "off"]))
    assert (first.exit_code, off.exit_code) == (0, 0), first.output + off.output
    note, said = first.stderr.splitlines()[-2:]
    assert note.startswith("bark-onnx: numbers are spoken as they are written; to read them as words, ")
    assert re.fullmatch(r"bark-onnx: .*out: 1 row, 0 s of audio; 1 row in \d+ s", said)
    assert "numbers" not in off.stderr
    assert re.fullmatch(r"bark-onnx: .*out: 1 row, 0 s of audio; 0 rows in \d+ s", off.stderr.splitlines()[-1])


def test_the_command_reports_and_its_status_tells_that_rows_failed(batch: Batch) -> None:
    again = ["batch", batch.source, batch.directory, "--bundle", str(batch.options.bundle), "--slots", "2"]
    result = run(*again, "--report", "--device", "cpu", "--threads", "1")
    assert result.returncode == 3
    table = dict(line.split("  ", 1) for line in result.stdout.decode().splitlines())
    assert {name: value.strip() for name, value in table.items()}["failed"] == "3"
    assert "15 rows" in result.stderr.decode()
    assert "3 rows failed: see results.jsonl, or --retry-failed" in result.stderr.decode()
    assert_fails(run(*again, "--seed", "4", "-q"), "holds another job (other", "seed")
    assert_fails(run("batch", "rows.txt", "out", "-q"), "rows.txt cannot be read: No such file")
    assert run("batch", "x", "out", "--id-column", "text").returncode == 2
