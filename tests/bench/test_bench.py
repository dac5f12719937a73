"""`bark-onnx bench` on a small bundle: its figures are of the stated workload, and say what they were measured on."""

import json
import subprocess
import sys
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from click.testing import CliRunner

from bark_onnx import Bark, BarkError
from bark_onnx.command.cli import main
from bark_onnx.graphs.device import Device
from bark_onnx.model.bundle import Bundle
from bark_onnx_bench import cli, plot
from bark_onnx_bench.floors import Floor, Limits, Work
from bark_onnx_bench.machine import read_bandwidth
from bark_onnx_bench.report import Report, batch_table, stage_table, thread_table
from bark_onnx_bench.stages import STEP_CONTEXTS, CausalBench, StageTiming, measure_stages
from bark_onnx_bench.startup import measure_start
from bark_onnx_bench.sweeps import sweep_batches, sweep_threads, thread_counts
from bark_onnx_bench.timing import Timing, timed
from bark_onnx_bench.workload import SEMANTIC_TOKENS, run_once
from conftest import VOICE

CPU = Device("cpu", 1)
LIMITS = Limits(10e9, {"fp32": 50e9, "int8": 200e9})


def test_the_workload_has_its_length_whatever_the_model_says(bark: Bark) -> None:
    speech = run_once(bark, None, seed=0)
    assert speech.tokens.semantic.shape == (SEMANTIC_TOKENS,)
    assert speech.tokens.coarse.shape == (2, 384)
    assert speech.duration == 5.12


def test_bench_prints_a_row_for_each_voice_and_writes_what_it_measured(
    bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, figure = tmp_path / "figures.json", tmp_path / "figure.png"
    monkeypatch.setattr(cli, "measure_limits", lambda formats, width: LIMITS)  # has a test of its own
    arguments = ["bench", str(bundle_with_voice), "--voice", VOICE, "--repeats", "1", "--streams", "1", "--batch", "2"]
    arguments += [
        "--fast",
        "--starts",
        "1",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--json",
        str(file),
        "--plot",
        str(figure),
    ]
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


# What is found out before the work


@pytest.mark.parametrize(("option", "name"), [("--json", "figures.json"), ("--plot", "figure.png")])
def test_bench_finds_out_first_that_its_figures_cannot_be_written(
    bundle: Path, tmp_path: Path, option: str, name: str
) -> None:
    result = CliRunner().invoke(main, ["bench", str(bundle), option, str(tmp_path / "nowhere" / name)])
    assert result.exit_code == 2
    assert "nowhere is not a directory" in result.output


def test_a_plot_without_matplotlib_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    result = CliRunner().invoke(main, ["bench", str(tmp_path), "--plot", str(tmp_path / "figure.png")])
    assert result.exit_code == 1
    assert result.output == "Error: --plot needs matplotlib: in a checkout of bark-onnx, run pip install '.[bench]'\n"


def test_matplotlib_is_imported_only_for_a_plot() -> None:
    code = "import sys, bark_onnx_bench.cli; sys.exit('matplotlib' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


# Each part


def test_bandwidth_is_measured_and_kept() -> None:
    assert 0.1 < read_bandwidth() < 10_000
    assert read_bandwidth() == read_bandwidth()


def test_warm_ups_and_preparation_do_not_count() -> None:
    calls: list[str] = []

    def work() -> None:
        calls.append("work")
        sleep(0.05 if calls.count("work") == 1 else 0.001)

    def prepare() -> None:
        calls.append("prepare")
        sleep(0.02)

    timing = timed(work, repeats=3, warmups=1, prepare=prepare)
    assert calls == ["prepare", "work"] * 4
    assert timing.repeats == 3
    assert 0.001 <= timing.least <= timing.median <= timing.most < 0.02
    assert Timing.of([3.0, 1.0, 2.0]).to_json() == {"median_ms": 2000, "min_ms": 1000, "max_ms": 3000, "repeats": 3}


def test_stages_are_measured_at_the_stated_positions(bundle: Path) -> None:
    stages = measure_stages(Bundle.open(bundle), CPU, LIMITS, repeats=1)
    names = [stage.name for stage in stages]
    assert names[:4] == ["semantic prefill of 257", *(f"semantic step at {n}" for n in (257, 512, 900))]
    assert names[4:6] == ["coarse prefill of 257", "coarse prefill of 887"]
    assert names[9:] == ["fine pass of 1024", "codec decode of 384"]
    for stage in stages:
        figures = stage.to_json()
        assert figures["threads"] == (1 if stage.stage in ("semantic", "coarse") else None)
        assert figures["min_ms"] <= figures["median_ms"] <= figures["max_ms"]
        assert figures["reached"] == pytest.approx(figures["floor_ms"] / figures["median_ms"], rel=0.01, abs=1e-3)
    codec = stages[-1].to_json()
    assert codec["seconds_per_audio_second"] == pytest.approx(codec["median_ms"] / 1e3 / 5.12, abs=1e-4)


def test_without_limits_there_are_figures_but_no_floors(bundle: Path) -> None:
    step = CausalBench(Bundle.open(bundle), "semantic", CPU, None).step(16)
    assert "floor_ms" not in step.to_json()
    assert "-" in stage_table([step])[1].split()
    assert step.per_second == pytest.approx(1 / step.timing.median)


def test_a_step_is_taken_at_its_context_by_every_row(bundle: Path) -> None:
    bench = CausalBench(Bundle.open(bundle), "coarse", CPU, LIMITS, rows=3)
    bench.step(40, rows=2)
    assert bench._cache.lengths.tolist() == [40, 40, 0]
    step = bench.step(24, rows=3)
    assert bench._cache.lengths.tolist() == [24, 24, 24]
    assert step.per_second == pytest.approx(3 / step.timing.median)


def test_sweeps_cover_threads_and_rows(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    threads = sweep_threads(opened, CPU, LIMITS, repeats=1, cores=2)
    assert [[stage.threads for stage in row] for row in threads] == [[1] * 4, [2] * 4]
    assert [stage.name for stage in threads[0]] == [
        "coarse prefill of 887", "coarse step at 512", "fine pass of 1024", "codec decode of 384"
    ]  # fmt: skip
    rows = sweep_batches(opened, CPU, LIMITS)
    assert [[(stage.stage, stage.rows) for stage in row] for row in rows] == [
        [("semantic", n), ("coarse", n)] for n in (1, 2, 4, 8, 16)
    ]
    alone, sixteen = (row[0].work for row in (rows[0], rows[-1]))
    assert alone.bytes_read < sixteen.bytes_read < 16 * alone.bytes_read
    assert max(len(line) for line in [*thread_table(threads), *batch_table(rows)]) <= 100


def test_thread_counts_double_beyond_eight() -> None:
    assert thread_counts(1) == [1]
    assert thread_counts(6) == [1, 2, 3, 4, 5, 6]
    assert thread_counts(12) == [1, 2, 3, 4, 5, 6, 7, 8, 12]
    assert thread_counts(32) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]


def test_a_fresh_process_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BarkError, match=rf"did not come to its first token: {tmp_path} is not a bundle"):
        measure_start(tmp_path, "cpu", None, starts=1)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="elsewhere a process inherits its parent's peak")
def test_peak_memory_is_the_process_s_own() -> None:
    large = np.ones(60_000_000)  # 480 MB in this process
    code = "from bark_onnx_bench.machine import peak_memory_mb; print(peak_memory_mb())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert large[0] == 1
    assert 5 < float(result.stdout) < 300


# The table and the figure, of figures made up


def stage(name: str, seconds: float, rows: int = 1, threads: int | None = None) -> StageTiming:
    timing = Timing(seconds, 0.9 * seconds, 1.2 * seconds, 5)
    floor = Floor(seconds / 2, "bandwidth")
    return StageTiming(name, "step", 512, timing, Work(1000, {"int8": 10}), floor, rows=rows, threads=threads)


def test_a_row_of_the_table_has_the_share_that_is_reached() -> None:
    _, row = stage_table([stage("coarse", 0.004)])
    assert row.split() == [*"coarse step at 512 4.00 3.60 4.80 2.00 50 % bandwidth 250 tokens/s".split()]


def test_a_figure_shows_the_sweeps_where_there_are_any(tmp_path: Path) -> None:
    machine = {"processor": "a processor", "cores": 2}
    about = {"bundle": {"model": "bark-test", "precision": "int8"}, "machine": machine}
    report = Report(about, load_seconds=1, stages=[stage("semantic", 0.003), stage("coarse", 0.004)])
    heights = []
    for sweeps in (False, True):
        if sweeps:
            report.thread_sweep = [[stage("coarse", 0.004 / n, threads=n)] for n in (1, 2)]
            report.batch_sweep = [[stage("coarse", 0.004 * n**0.5, rows=n)] for n in (1, 2, 4)]
        plot.draw(report, tmp_path / "figure.png")
        header = (tmp_path / "figure.png").read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        heights.append(int.from_bytes(header[20:24], "big"))
    assert heights[1] > heights[0] + 300
