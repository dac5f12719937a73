"""Measure how fast this machine speaks with one or several bundles, and draw it in benchmark.png.

    python examples/benchmark.py
    python examples/benchmark.py nano bundles/bark-small-int8 bundles/bark-small-mixed

It needs matplotlib. For one bundle in detail: bark-onnx bench BUNDLE --plot details.png
"""

import sys

from matplotlib.figure import Figure

from bark_onnx import Bark
from bark_onnx_bench.machine.description import machine, machine_line
from bark_onnx_bench.measure.workload import measure

COLORS = {"semantic": "#4c78a8", "coarse": "#72b7b2", "fine": "#f2a541", "codec": "#b279a2"}

bundles = sys.argv[1:] or ["nano"]
figure = Figure(figsize=(9, 2 + 0.6 * len(bundles)), dpi=120, layout="constrained")
axes = figure.add_subplot()
for place, bundle in enumerate(bundles):
    with Bark.load(bundle) as bark:
        (measured,) = measure(bark, next(iter(bark.voices), None), repeats=3)  # medians
    end = 0.0
    for stage, seconds in measured.seconds.items():
        cost = seconds / measured.audio_seconds
        axes.barh(place, cost, 0.6, left=end, color=COLORS[stage], label=None if place else stage)
        end += cost
    axes.annotate(f" {1 / end:.1f} times as fast as speech", (end, place), va="center")
    print(f"{bundle}: {end:.2f} s for one second of audio")
axes.axvline(1, color="grey", linestyle=":")
axes.set_yticks(range(len(bundles)), bundles)
axes.set_xlim(0, 1.5 * max(1, axes.dataLim.xmax))  # with room for the notes
axes.set_xlabel("seconds of computing for one second of audio; as fast as speech at 1")
axes.set_title(machine_line(machine()), fontsize=10)
figure.legend(loc="outside lower center", ncols=4, frameon=False)
figure.savefig("benchmark.png")
