"""Draw the report as one figure: measured time and floor of every stage, and the sweeps if they were measured.

matplotlib is imported only when a figure is drawn.
"""

import math
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bark_onnx.errors import BarkError, how_to_install

from .report import Report, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

MEASURED, FLOOR = "#4c78a8", "#f2a541"
LABEL_GAP = 5  # points between the end of a bar and its label


def check_matplotlib() -> None:
    """Raise BarkError if matplotlib is not installed. Call it before the measurements."""
    try:
        import matplotlib.backends.backend_agg  # noqa: F401
    except ImportError:
        raise BarkError(f"--plot needs matplotlib: {how_to_install('bench')}") from None


def draw(report: Report, path: Path) -> None:
    """Write the figure as PNG."""
    figure_of(report).savefig(path, format="png")


def figure_of(report: Report) -> "Figure":
    """Return the figure of a report."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sweeps = [sweep for sweep in (report.thread_sweep, report.batch_sweep) if sweep]
    height = 1.6 + 0.42 * len(report.stages)
    figure = Figure(figsize=(10, height + (4.0 if sweeps else 0)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 if sweeps else 1, max(1, len(sweeps)), height_ratios=[height, 4.0] if sweeps else None)
    stages = figure.add_subplot(grid[0, :])
    labels = _draw_stages(stages, report)
    for column, sweep in enumerate(sweeps):
        axes = figure.add_subplot(grid[1, column])
        if sweep is report.thread_sweep:
            _draw_threads(axes, sweep)
        else:
            _draw_batches(axes, sweep)
    about = report.about
    title = f"{about['bundle']['model']} {about['bundle']['precision']} on {about['machine']['processor']}"
    figure.suptitle(f"{title}, {about['machine']['cores']} cores", fontsize=11, wrap=True)
    _make_room_for_labels(figure, stages, labels)
    return figure


def _draw_stages(axes: "Axes", report: Report) -> list["Annotation"]:
    """Draw two bars per stage: measured, with the spread as a whisker and a label beside it, and the floor.

    Returns the labels.
    """
    labels = []
    for place, stage in enumerate(report.stages):
        timing = stage.timing
        median, least, most = (1e3 * value for value in (timing.median, timing.minimum, timing.maximum))
        axes.barh(place - 0.2, median, 0.38, color=MEASURED, label="" if place else "measured (median, range)")
        axes.errorbar(median, place - 0.2, xerr=[[median - least], [most - median]], color="black", lw=1, capsize=2)
        label = f"{_plain(median)} ms"
        if stage.floor is not None and stage.reached is not None:
            axes.barh(place + 0.2, 1e3 * stage.floor.seconds, 0.38, color=FLOOR, label="" if place else "floor")
            label += f", {100 * stage.reached:.0f} % of the limit by {stage.floor.bound_by}"
        at = (most, place - 0.2)
        labels.append(axes.annotate(label, at, xytext=(LABEL_GAP, 0), textcoords="offset points", va="center"))
        labels[-1].set_in_layout(False)  # it will be inside the frame, and needs no room beside it
    axes.set_yticks(range(len(report.stages)), [stage.name for stage in report.stages])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    axes.margins(x=0.25)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return labels


def _make_room_for_labels(figure: "Figure", axes: "Axes", labels: list["Annotation"]) -> None:
    """End the logarithmic axis where each label is inside the frame, and label its ticks with plain numbers.

    A label at x that is as wide as the share s of the frame ends inside if log x - left <= (1 - s) * (right - left).
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure.draw_without_rendering()  # this is the layout; before it, the axes have another width
    gap = 2 * LABEL_GAP * figure.dpi / 72  # on both sides of a label
    left = right = math.log10(axes.get_xlim()[0])
    for label in labels:
        share = min(0.9, (label.get_window_extent().width + gap) / axes.get_window_extent().width)
        right = max(right, left + (math.log10(label.xy[0]) - left) / (1 - share))
    axes.set_xlim(right=10**right)
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if right - left > 3 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """Write a number with three significant digits and without an exponent."""
    return f"{Decimal(f'{value:.3g}'):f}"


def _draw_threads(axes: "Axes", sweep: Sweep) -> None:
    """Draw the speedup over one thread."""
    threads = [row[0].threads or 0 for row in sweep]
    for column, first in enumerate(sweep[0]):
        speedup = [first.timing.median / row[column].timing.median for row in sweep]
        axes.plot(threads, speedup, marker="o", label=first.name)
    axes.plot(threads, threads, color="grey", linestyle=":", label="linear")
    axes.set_xticks(threads)
    axes.set_xlabel("threads")
    axes.set_ylabel("speedup over one thread")
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.legend(fontsize=8)


def _draw_batches(axes: "Axes", sweep: Sweep) -> None:
    """Draw the time of a decode step per sequence."""
    rows = [row[0].rows for row in sweep]
    for column, first in enumerate(sweep[0]):
        stages = [row[column] for row in sweep]
        (line,) = axes.plot(rows, [1e3 * s.timing.median / s.rows for s in stages], marker="o", label=first.name)
        floors = [1e3 * s.floor.seconds / s.rows for s in stages if s.floor is not None]
        if len(floors) == len(rows):
            axes.plot(rows, floors, linestyle=":", color=line.get_color(), label=f"{first.stage} floor")
    axes.set_xscale("log", base=2)
    axes.set_xticks(rows, [str(count) for count in rows])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("sequences in a decode step")
    axes.set_ylabel("milliseconds per sequence")
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.legend(fontsize=8)
