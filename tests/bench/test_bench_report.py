"""The report: the table's columns and the figure's size, from made-up measurements."""

import re
from pathlib import Path

import pytest
from matplotlib.text import Annotation, Text

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


LONG_NAME = "a processor with a name that is far too long for one line (avx2, avx512f, avx512_vnni, amx_int8, and more)"


@pytest.mark.parametrize("seconds", [[2e-6, 1.7], [0.003], [40.0, 41.0, 900.0]])
@pytest.mark.parametrize("processor", ["a processor", LONG_NAME])
def test_the_texts_of_the_figure_are_inside_and_their_numbers_plain(seconds: list[float], processor: str) -> None:
    """The labels beside the bars are inside the frame of the bars. All other texts are inside the figure."""
    about = {"bundle": {"model": "bark-test", "precision": "int8"}, "machine": {"processor": processor, "cores": 2}}
    report = Report(about, load_seconds=1, stages=[stage("semantic", each) for each in seconds])
    report.thread_sweep = [[stage("coarse", seconds[0] / n, threads=n)] for n in (1, 2)]
    report.batch_sweep = [[stage("coarse", seconds[0] * n**0.5, rows=n)] for n in (1, 2, 4)]
    figure = plot.figure_of(report)
    figure.draw_without_rendering()
    everything, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(everything.x0, everything.y0) >= 0
    assert (everything.x1, everything.y1) <= (width, height)
    bars = figure.axes[0]
    labels = [text for text in bars.texts if isinstance(text, Annotation)]
    assert len(labels) == len(seconds)
    frame = bars.get_window_extent()
    assert all(frame.x0 < label.get_window_extent().x0 for label in labels)
    assert all(label.get_window_extent().x1 < frame.x1 for label in labels)
    words = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert not re.search(r"\d[eE]|10\^|times", " ".join(words))
    numbers = [text.get_text() for text in bars.get_xticklabels()]
    assert [number for number in numbers if re.fullmatch(r"[\d.]+", number)]


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
