"""The report: the table's columns and the figure's size, from made-up measurements."""

from pathlib import Path

from bark_onnx_bench.machine.timing import Timing
from bark_onnx_bench.measure.stages import StageTiming
from bark_onnx_bench.report import plot
from bark_onnx_bench.report.report import Report
from bark_onnx_bench.report.tables import stage_table
from bark_onnx_bench.roofline.limits import Floor
from bark_onnx_bench.roofline.work import Work


def stage(name: str, seconds: float, rows: int = 1, threads: int | None = None) -> StageTiming:
    timing = Timing(seconds, 0.9 * seconds, 1.2 * seconds, 5)
    floor = Floor(seconds / 2, "bandwidth")
    return StageTiming(name, "step", 512, timing, Work(1000, {"int8": 10}), floor, rows=rows, threads=threads)


def test_a_row_of_the_table_shows_the_share_of_the_limit() -> None:
    _, row = stage_table([stage("coarse", 0.004)])
    assert row.split() == [*"coarse step at 512 4.00 3.60 4.80 2.00 50 % bandwidth 250 tokens/s".split()]


def test_sweeps_make_the_figure_taller(tmp_path: Path) -> None:
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
