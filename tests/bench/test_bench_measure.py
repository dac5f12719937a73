"""The measurements: the workload, stages, sweeps, and a fresh process."""

from pathlib import Path

import pytest

from bark_onnx import Bark, BarkError
from bark_onnx.graphs.device import Device
from bark_onnx.model.bundle import Bundle
from bark_onnx_bench.measure.stages import CausalBench, measure_stages
from bark_onnx_bench.measure.startup import measure_start
from bark_onnx_bench.measure.sweeps import sweep_batches, sweep_threads, thread_counts
from bark_onnx_bench.measure.workload import SEMANTIC_TOKENS, run_once
from bark_onnx_bench.report.tables import batch_table, stage_table, thread_table
from bark_onnx_bench.roofline.limits import Limits

CPU = Device("cpu", 1)
LIMITS = Limits(10e9, {"fp32": 50e9, "int8": 200e9})


def test_the_workload_s_length_does_not_depend_on_the_model(bark: Bark) -> None:
    speech = run_once(bark, None, seed=0)
    assert speech.tokens.semantic.shape == (SEMANTIC_TOKENS,)
    assert speech.tokens.coarse.shape == (2, 384)
    assert speech.duration == 5.12


def test_stages_are_measured_at_the_documented_positions(bundle: Path) -> None:
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


def test_without_limits_a_stage_has_figures_but_no_floor(bundle: Path) -> None:
    step = CausalBench(Bundle.open(bundle), "semantic", CPU, None).step(16)
    assert "floor_ms" not in step.to_json()
    assert "-" in stage_table([step])[1].split()
    assert step.per_second == pytest.approx(1 / step.timing.median)


def test_every_row_of_a_step_is_at_the_given_context(bundle: Path) -> None:
    bench = CausalBench(Bundle.open(bundle), "coarse", CPU, LIMITS, rows=3)
    bench.step(40, rows=2)
    assert bench._cache.lengths.tolist() == [40, 40, 0]
    step = bench.step(24, rows=3)
    assert bench._cache.lengths.tolist() == [24, 24, 24]
    assert step.per_second == pytest.approx(3 / step.timing.median)


def test_sweeps_measure_every_number_of_threads_and_rows(bundle: Path) -> None:
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


def test_thread_counts_double_after_eight() -> None:
    assert thread_counts(1) == [1]
    assert thread_counts(6) == [1, 2, 3, 4, 5, 6]
    assert thread_counts(12) == [1, 2, 3, 4, 5, 6, 7, 8, 12]
    assert thread_counts(32) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]


def test_a_fresh_process_that_fails_gives_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(BarkError, match=rf"failed before its figures were complete: {tmp_path} is not a bundle"):
        measure_start(tmp_path, "cpu", None, starts=1)
