"""The command `bark-onnx bench` on a small bundle: what it prints, what it writes, and which errors come first."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bark_onnx import BarkError
from bark_onnx.command.cli import main
from bark_onnx_bench import cli
from bark_onnx_bench.measure.stages import STEP_CONTEXTS
from bark_onnx_bench.measure.workload import Measurement
from bark_onnx_bench.roofline.limits import Limits
from run_command import run
from tiny import VOICE

LIMITS = Limits(10e9, {"fp32": 50e9, "int8": 200e9})


def test_it_prints_a_row_per_voice_and_writes_its_figures(
    bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, figure = tmp_path / "figures.json", tmp_path / "figure.png"
    monkeypatch.setattr(cli, "measure_limits", lambda formats, width: LIMITS)  # tested by itself
    arguments = ["bench", str(bundle_with_voice), "--voice", VOICE, "--repeats", "1", "--streams", "1", "--batch", "2"]
    arguments += ["--fast", "--starts", "1", "--device", "cpu", "--threads", "1"]
    arguments += ["--json", str(file), "--plot", str(figure)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    first_words = [line.split()[0] for line in lines if line]
    assert first_words[1:10] == ["voice", *["none"] * 2, *["en_speaker_6"] * 2, *["none", "en_speaker_6"] * 2]
    assert first_words[10:12] == ["limits:", "stage,"]
    assert first_words[-2:] == ["fresh", "peak"]
    assert max(len(line) for line in lines[1:]) <= 100  # the first line is the processor's
    assert figure.read_bytes().startswith(b"\x89PNG")

    figures = json.loads(file.read_text())
    options = "--repeats 1 --streams 1 --batch 2 --starts 1 --fast --voice en_speaker_6"
    assert figures["command"] == f"bark-onnx bench bundle {options}"
    assert figures["machine"]["read_bandwidth_gb_s"] > 0
    for measurement in figures["measurements"]:
        seconds = measurement["seconds"]
        assert set(seconds) == {"semantic", "coarse", "fine", "codec"}
        assert measurement["real_time_factor"] == pytest.approx(sum(seconds.values()) / 5.12, rel=0.01)
    for streaming in figures["streaming"]:
        assert 0 < streaming["first_audio"]["p50"] <= streaming["first_audio"]["p99"]
        assert 0 <= streaming["fine_codes_differing"] <= 1
    for batch in figures["batches"]:
        assert batch["throughput"] == pytest.approx(batch["alone_seconds"] / batch["together_seconds"], rel=0.01)
        assert batch["same_tokens"] == {"semantic": 1, "coarse": 1, "fine": 1}  # in fp32
    assert len(figures["stages"]) == 3 + 2 * len(STEP_CONTEXTS) + 2
    assert figures["limits"] == {"read_bandwidth_gb_s": 10, "matrix_giga_multiply_adds_s": {"fp32": 50, "int8": 200}}
    start = figures["start"]
    assert start["until_imported"]["median_ms"] < start["until_loaded"]["median_ms"]
    assert start["until_loaded"]["median_ms"] < start["until_first_token"]["median_ms"] < 60_000
    assert figures["peak_memory_mb"] == start["peak_memory_mb"] > 30
    assert start["low_memory"]["peak_memory_mb"] > 30
    assert start["low_memory"]["time"] > 0.5
    assert [(m["voice"], m["profile"]) for m in figures["measurements"]] == [
        (voice, profile) for voice in (None, VOICE.split("/")[-1]) for profile in ("reference", "fast")
    ]
    assert (figures["thread_sweep"], figures["batch_sweep"]) == ([], [])


def test_what_was_measured_before_a_failure_is_in_the_file(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BarkError("no memory for that")

    seconds = dict.fromkeys(("semantic", "coarse", "fine", "codec"), 0.25)
    measured = Measurement(None, 1, 5.12, seconds, dict.fromkeys(seconds, (0.2, 0.3)), 0.2)
    monkeypatch.setattr(cli, "measure", lambda *_: [measured])
    monkeypatch.setattr(cli, "measure_batch", fails)
    file = tmp_path / "figures.json"
    arguments = ["bench", str(bundle), "--streams", "0", "--batch", "2", "--device", "cpu", "--json", str(file)]
    assert "no memory for that" in CliRunner().invoke(main, arguments).output
    figures = json.loads(file.read_text())
    assert [found["real_time_factor"] for found in figures["measurements"]] == [0.2]
    assert (figures["batches"], figures["stages"], figures["start"]) == ([], [], None)


# Errors that are reported before anything is measured


@pytest.mark.parametrize(("option", "name"), [("--json", "figures.json"), ("--plot", "figure.png")])
def test_a_folder_that_does_not_exist_is_reported_first(bundle: Path, tmp_path: Path, option: str, name: str) -> None:
    result = CliRunner().invoke(main, ["bench", str(bundle), option, str(tmp_path / "nowhere" / name)])
    assert result.exit_code == 2
    assert "nowhere is not a directory" in result.output


def test_a_plot_without_matplotlib_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    result = CliRunner().invoke(main, ["bench", str(tmp_path), "--plot", str(tmp_path / "figure.png")])
    assert result.exit_code == 1
    advice = "in a checkout of bark-onnx, run pip install '.[bench]' (with its wheel: 'WHEEL[bench]')"
    assert result.output == f"Error: --plot needs matplotlib: {advice}\n"


def test_matplotlib_is_imported_only_for_a_plot() -> None:
    code = "import sys, bark_onnx_bench.cli; sys.exit('matplotlib' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_bench_writes_its_figures(bundle: Path, tmp_path: Path) -> None:
    result = run("bench", bundle, "--repeats", "1", "--json", "figures.json", "--device", "cpu", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads((tmp_path / "figures.json").read_text())["bundle"]["precision"] == "fp32"
