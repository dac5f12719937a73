"""`bark-onnx bench --quick`: one sentence that says whether a machine is fast enough, and a warning if it is busy."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bark_onnx.command.cli import main
from bark_onnx_bench import cli
from bark_onnx_bench.machine.busy import Others, others
from bark_onnx_bench.measure import quick
from bark_onnx_bench.measure.quick import QuickMeasurement, measure_quickly, sentence
from tiny import VOICE

MEASURED = QuickMeasurement("bark-small", "int8", "en_speaker_6", 1.98, 0.123, 1, 2, 0.02)


def test_it_prints_one_sentence_and_writes_its_figures(
    bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "LEAST_SECONDS", 0.0)
    file = tmp_path / "quick.json"
    result = CliRunner().invoke(
        main, ["bench", str(bundle_with_voice), "--quick", "--device", "cpu", "--json", str(file)]
    )
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith("bark-test in fp32 (with the voice en_speaker_6) ")
    figures = json.loads(file.read_text())
    assert figures["command"] == "bark-onnx bench bundle --quick"
    assert figures["bundle"] == {"model": "bark-test", "precision": "fp32"}
    found = figures["quick"]
    assert found["voice"] == VOICE.split("/")[-1]
    assert (found["streams"] > 0) == (found["speed"] >= 1)
    assert 0 < found["first_audio"] < 60


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (
            MEASURED,
            "bark-small in int8 (with the voice en_speaker_6) speaks 2.0 times as fast as real time on this machine, "
            "the first audio comes after 0.12 s, and it can keep up with one stream at once.",
        ),
        (
            replace(MEASURED, voice=None, speed=9.0, streams=11),
            "bark-small in int8 (without a voice) speaks 9.0 times as fast as real time on this machine, "
            "the first audio comes after 0.12 s, and it can keep up with about 11 streams at once.",
        ),
        (
            replace(MEASURED, speed=0.4, streams=0),
            "bark-small in int8 (with the voice en_speaker_6) is too slow for live speech on this machine: "
            "it takes 2.5 s for one second of speech, and the first audio comes after 0.12 s.",
        ),
    ],
)
def test_the_sentence(measured: QuickMeasurement, expected: str) -> None:
    assert sentence(measured) == expected


@pytest.mark.parametrize(("alone", "together", "streams"), [(1.0, 4.1, 6), (2.0, 3.0, 4), (2.6, 5.2, 1), (6.0, 9.0, 0)])
def test_streams_at_once_are_those_that_end_before_they_are_played(
    alone: float, together: float, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5.12 s of audio each. The time of n streams is taken as a + b n."""
    monkeypatch.setattr(quick, "_stream", lambda *arguments, **keywords: (0.2, alone, 5.12))
    monkeypatch.setattr(quick, "_streams", lambda bark, voice, count: together)
    bark = type("Bark", (), {"preset": lambda self, name: None})()
    assert measure_quickly(bark, None)[2] == streams


@pytest.mark.parametrize("busy", [False, True])
def test_a_busy_machine_is_named(bundle: Path, busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "measure_quickly", lambda bark, voice: (2.0, 0.1, 2, 2))
    monkeypatch.setattr(Others, "busy", busy)
    result = CliRunner().invoke(main, ["bench", str(bundle), "--quick", "--device", "cpu"])
    assert ("of the processor meanwhile" in result.stderr) == busy
    assert len(result.stdout.splitlines()) == 1


def stat(path: Path, busy: int, cpus: int) -> Path:
    """A file of the kernel's in which each processor was busy for so many ticks."""
    lines = [f"cpu{cpu} {busy} 0 0 777 99 0 0 0 0 0" for cpu in range(cpus)]
    path.write_text("\n".join(["cpu  1 1 1 1 1 1 1 1 0 0", *lines, "intr 1 2 3"]) + "\n")
    return path


def test_processor_time_of_others_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    path = stat(tmp_path / "stat", 1000, cpus=4)
    with others(path) as idle:
        pass
    assert (idle.share, idle.busy) == (0.0, False)
    with others(path) as taken:
        stat(path, 100_000, cpus=4)
    assert (taken.share, taken.busy) == (1.0, True)


def test_without_processor_times_the_load_average_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 0.0, 0.0))
    with others(tmp_path / "none") as used:
        pass
    assert used.share == 0.25
    monkeypatch.delattr(os, "getloadavg")
    with others(tmp_path / "none") as unknown:
        pass
    assert (unknown.share, unknown.busy) == (None, False)


def test_quick_refuses_options_of_the_long_run(bundle: Path) -> None:
    result = CliRunner().invoke(main, ["bench", str(bundle), "--quick", "--repeats", "2", "--plot", "out.png"])
    assert result.exit_code == 2
    assert "--quick measures nothing else: leave out --repeats, --plot" in result.output
