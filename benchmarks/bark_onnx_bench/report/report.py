"""Everything that `bark-onnx bench` measures, in one value."""

from dataclasses import dataclass, field
from typing import Any

from ..measure.batching import BatchMeasurement
from ..measure.stages import StageTiming
from ..measure.startup import StartMeasurement
from ..measure.streaming import StreamMeasurement
from ..measure.workload import Measurement
from ..roofline.limits import Limits

Sweep = list[list[StageTiming]]


@dataclass
class Report:
    """The figures of one run of the command. What was not asked for, or not reached, is empty or None.

    Args:
        about: command, machine, bundle, device, threads.
        load_seconds: time to load the bundle in this process, with or without its files in the system's cache.
        limits: this machine's read bandwidth and matrix throughput; without them no floors are known.
        thread_sweep, batch_sweep: one list per number of threads, or per number of sequences.
    """

    about: dict[str, Any]
    load_seconds: float
    measurements: list[Measurement] = field(default_factory=list)
    streaming: list[StreamMeasurement] = field(default_factory=list)
    batches: list[BatchMeasurement] = field(default_factory=list)
    limits: Limits | None = None
    stages: list[StageTiming] = field(default_factory=list)
    thread_sweep: Sweep = field(default_factory=list)
    batch_sweep: Sweep = field(default_factory=list)
    start: StartMeasurement | None = None

    def to_json(self) -> dict[str, Any]:
        """Names end in their unit: `_seconds`, `_ms`, `_mb` (10^6 bytes), `_gb_s`; `bytes_read` is in bytes.

        In `measurements`, `seconds` and `spread` (minimum, maximum) are by stage. `multiply_adds` are by number
        format. `reached` is floor divided by median. `per_second` counts the tokens of a step, the positions of a
        prefill, and the frames of a fine pass or of the codec.
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
