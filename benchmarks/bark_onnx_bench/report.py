"""What was measured, as a table for a terminal of 100 columns and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .batching import BatchMeasurement
from .floors import Limits
from .stages import StageTiming
from .startup import StartMeasurement
from .streaming import StreamMeasurement
from .workload import Measurement

Rows = list[list[StageTiming]]


@dataclass
class Report:
    """Everything `bark-onnx bench` measures; what was not asked for is empty or None.

    Args:
        about: command, machine, bundle, device, threads.
        load_seconds: of this process, whether or not the file cache was warm.
        limits: this machine's bandwidth and matrix throughput; floors are known only with them.
        thread_sweep, batch_sweep: a list for each number of threads, or of rows.
    """

    about: dict[str, Any]
    load_seconds: float
    measurements: list[Measurement] = field(default_factory=list)
    streaming: list[StreamMeasurement] = field(default_factory=list)
    batches: list[BatchMeasurement] = field(default_factory=list)
    limits: Limits | None = None
    stages: list[StageTiming] = field(default_factory=list)
    thread_sweep: Rows = field(default_factory=list)
    batch_sweep: Rows = field(default_factory=list)
    start: StartMeasurement | None = None

    def to_json(self) -> dict[str, Any]:
        """Units are in the names: `_seconds`, `_ms`, `_mb` (10^6 bytes), `_gb_s`; `bytes_read` in bytes.

        In `measurements`, `seconds` and `spread` (least, most) are by stage. `multiply_adds` count by number format,
        `reached` is floor / median, `per_second` counts tokens of a step, positions of a prefill, frames otherwise.
        """
        return {
            **self.about,
            "load_seconds": round(self.load_seconds, 3),
            "peak_memory_mb": self.start and round(self.start.peak_memory_mb),
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "streaming": [measurement.to_json() for measurement in self.streaming],
            "batches": [measurement.to_json() for measurement in self.batches],
            "limits": self.limits and self.limits.to_json(),
            "stages": [stage.to_json() for stage in self.stages],
            "thread_sweep": [[stage.to_json() for stage in row] for row in self.thread_sweep],
            "batch_sweep": [[stage.to_json() for stage in row] for row in self.batch_sweep],
            "start": self.start and self.start.to_json(),
        }


def workload_header() -> str:
    return f"{'voice':16}" + "".join(f"{stage:>12}" for stage in ("semantic", "coarse", "fine", "codec", "RTF"))


def workload_row(measurement: Measurement) -> str:
    seconds = "".join(f"{measurement.seconds[stage]:10.2f} s" for stage in ("semantic", "coarse", "fine", "codec"))
    name = (measurement.voice or "none") + (" fast" if measurement.profile == "fast" else "")
    return f"{name:16}{seconds}{measurement.real_time_factor:12.3f}"


def limits_line(limits: Limits) -> str:
    speeds = ", ".join(f"{form} {speed / 1e9:.0f}" for form, speed in limits.multiply_adds_per_s.items())
    return f"limits: {limits.bytes_per_s / 1e9:.1f} GB/s read; giga multiply-adds a second: {speeds}"


def stage_table(stages: Sequence[StageTiming]) -> list[str]:
    """Medians with their spread, floors, and the share of them that is reached."""
    lines = [f"{'stage, ms':23}{'median':>9}{'least':>9}{'most':>9}{'floor':>9}{'reached':>9}  {'bound by':11}speed"]
    for stage in stages:
        timing, bound = stage.timing, ("-", "-", "-")
        if stage.floor is not None and stage.reached is not None:
            bound = (f"{1e3 * stage.floor.seconds:.2f}", f"{100 * stage.reached:.0f} %", stage.floor.bound_by)
        figures = "".join(f"{1e3 * value:9.2f}" for value in (timing.median, timing.least, timing.most))
        lines.append(f"{stage.name:23}{figures}{bound[0]:>9}{bound[1]:>9}  {bound[2]:11}{_speed(stage)}")
    return lines


def thread_table(sweep: Rows) -> list[str]:
    names = [stage.name for stage in sweep[0]]
    lines = ["threads" + "".join(f"{name:>22}" for name in names)]
    for row in sweep:
        lines.append(f"{row[0].threads:7}" + "".join(f"{1e3 * stage.timing.median:19.2f} ms" for stage in row))
    return lines


def batch_table(sweep: Rows) -> list[str]:
    """Of each decoder, a step of all rows, its floor, and its cost for one row."""
    lines = ["   rows" + "".join(f"{stage.name:>22}{'floor':>9}{'a row':>9}" for stage in sweep[0])]
    for row in sweep:
        lines.append(f"{row[0].rows:7}" + "".join(_batch_cell(stage) for stage in row))
    return lines


def start_lines(start: StartMeasurement) -> list[str]:
    first = start.seconds["first token"]
    return [
        f"fresh process: first token after {first.median:.2f} s ({first.least:.2f} to {first.most:.2f}), "
        f"of it loading {start.load_seconds:.2f} s",
        f"peak memory of a generation: {start.peak_memory_mb:.0f} MB; with one network at a time "
        f"{start.low_memory[0]:.0f} MB, for {start.low_memory[1]:.2f} times the time",
    ]


def _batch_cell(stage: StageTiming) -> str:
    bound = "-" if stage.floor is None else f"{1e3 * stage.floor.seconds:.2f}"
    return f"{1e3 * stage.timing.median:19.2f} ms{bound:>9}{1e3 * stage.timing.median / stage.rows:9.2f}"


def _speed(stage: StageTiming) -> str:
    if stage.audio_seconds is not None:
        return f"{stage.timing.median / stage.audio_seconds:.4f} s/s of audio"
    unit = "tokens" if stage.phase in ("prefill", "step") else "frames"
    return f"{stage.per_second:.0f} {unit}/s"
