"""Format the measurements as tables for a terminal of 100 columns."""

from collections.abc import Sequence

from bark_onnx.model.manifest import STAGES

from ..measure.batching import BatchMeasurement
from ..measure.stages import StageTiming
from ..measure.startup import StartMeasurement
from ..measure.streaming import StreamMeasurement
from ..measure.workload import Measurement
from ..roofline.limits import Limits
from .report import Sweep


def workload_header() -> str:
    return f"{'voice':16}" + "".join(f"{column:>12}" for column in (*STAGES, "RTF"))


def workload_row(measurement: Measurement) -> str:
    seconds = "".join(f"{measurement.seconds[stage]:10.2f} s" for stage in STAGES)
    name = (measurement.voice or "none") + (" fast" if measurement.profile == "fast" else "")
    return f"{name:16}{seconds}{measurement.real_time_factor:12.3f}"


def streaming_row(measurement: StreamMeasurement) -> str:
    first = measurement.first_audio
    gap = f"buffer {measurement.wait_seconds:.2f} s" if measurement.wait_seconds > 0 else "no gap"
    differing = 100 * measurement.fine_codes_differing
    return (
        f"{measurement.voice or 'none':16}TTFA {first['p50']:.2f} s (p90 {first['p90']:.2f}, p99 {first['p99']:.2f}); "
        f"RTF {measurement.real_time_factor:.3f}; {gap}; {differing:.0f} % other fine codes"
    )


def batch_row(measurement: BatchMeasurement) -> str:
    return (
        f"{measurement.voice or 'none':16}{measurement.utterances} together {measurement.together_seconds:.1f} s, "
        f"one by one {measurement.alone_seconds:.1f} s: {measurement.throughput:.2f} x throughput; "
        f"KV cache {measurement.bytes_per_slot / 1e6:.0f} MB per slot"
    )


def limits_line(limits: Limits) -> str:
    speeds = ", ".join(f"{form} {speed / 1e9:.0f}" for form, speed in limits.multiply_adds_per_s.items())
    return f"limits: read {limits.bytes_per_s / 1e9:.1f} GB/s; giga multiply-adds per second: {speeds}"


def stage_table(stages: Sequence[StageTiming]) -> list[str]:
    """Median, minimum and maximum of each stage; its floor, the share of it that is reached, and what limits it."""
    lines = [f"{'stage, ms':23}{'median':>9}{'min':>9}{'max':>9}{'floor':>9}{'reached':>9}  {'bound by':11}speed"]
    for stage in stages:
        timing, bound = stage.timing, ("-", "-", "-")
        if stage.floor is not None and stage.reached is not None:
            bound = (f"{1e3 * stage.floor.seconds:.2f}", f"{100 * stage.reached:.0f} %", stage.floor.bound_by)
        figures = "".join(f"{1e3 * value:9.2f}" for value in (timing.median, timing.minimum, timing.maximum))
        lines.append(f"{stage.name:23}{figures}{bound[0]:>9}{bound[1]:>9}  {bound[2]:11}{_speed(stage)}")
    return lines


def thread_table(sweep: Sweep) -> list[str]:
    """The median of each stage, one row per number of threads."""
    names = [stage.name for stage in sweep[0]]
    lines = ["threads" + "".join(f"{name:>22}" for name in names)]
    for row in sweep:
        lines.append(f"{row[0].threads:7}" + "".join(f"{1e3 * stage.timing.median:19.2f} ms" for stage in row))
    return lines


def batch_table(sweep: Sweep) -> list[str]:
    """A decode step of each decoder, its floor, and its time per sequence; one row per number of sequences."""
    lines = ["   rows" + "".join(f"{stage.name:>22}{'floor':>9}{'per row':>9}" for stage in sweep[0])]
    for row in sweep:
        lines.append(f"{row[0].rows:7}" + "".join(_batch_cell(stage) for stage in row))
    return lines


def start_lines(start: StartMeasurement) -> list[str]:
    first = start.seconds["first token"]
    return [
        f"fresh process: first token after {first.median:.2f} s ({first.minimum:.2f} to {first.maximum:.2f}), "
        f"of which loading takes {start.load_seconds:.2f} s",
        f"peak memory of a generation: {start.peak_memory_mb:.0f} MB; with low_memory "
        f"{start.low_memory[0]:.0f} MB in {start.low_memory[1]:.2f} x the time",
    ]


def _batch_cell(stage: StageTiming) -> str:
    bound = "-" if stage.floor is None else f"{1e3 * stage.floor.seconds:.2f}"
    return f"{1e3 * stage.timing.median:19.2f} ms{bound:>9}{1e3 * stage.timing.median / stage.rows:9.2f}"


def _speed(stage: StageTiming) -> str:
    if stage.audio_seconds is not None:
        return f"{stage.timing.median / stage.audio_seconds:.4f} s/s of audio"
    unit = "tokens" if stage.phase in ("prefill", "step") else "frames"
    return f"{stage.per_second:.0f} {unit}/s"
