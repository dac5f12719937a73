"""Draw the figures of the levels: time to first audio, and underruns beside the audio that came."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .level import PERCENTILES, Level

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(levels: Sequence[Level], title: str, path: Path) -> None:
    """Write the figure as PNG."""
    figure_of(levels, title).savefig(path, format="png")


def figure_of(levels: Sequence[Level], title: str) -> "Figure":
    """Return the figure of one or more levels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    levels = sorted(levels, key=lambda level: level.load)
    loads = [level.load for level in levels]
    figure = Figure(figsize=(8, 7), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    first, audio = figure.subplots(2, 1, sharex=True)
    heard = [level for level in levels if level.first_audio is not None]
    for percent in PERCENTILES:
        times = [level.first_audio[f"p{percent}"] for level in heard if level.first_audio is not None]
        first.plot([level.load for level in heard], times, marker="o", label=f"p{percent}")
    first.set_ylabel("time to first audio, s")
    first.set_ylim(bottom=0)
    first.legend(frameon=False)
    audio.plot(loads, [level.audio_per_second for level in levels], marker="o", label="audio, s per second")
    audio.set_ylabel("audio, s per second")
    audio.set_ylim(bottom=0)
    shares = audio.twinx()
    disturbed = [100 * (level.underruns + level.requests - level.completed) / level.requests for level in levels]
    shares.plot(loads, disturbed, marker="s", color="#f2a541")
    shares.set_ylim(0, 105)
    shares.set_ylabel("with an underrun or not completed, %", color="#b06f00")
    audio.set_xlabel("requests per second" if levels[0].clients is None else "clients")
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure
