"""Compare several ways to run Bark on one workload.

The speed of a machine drifts, so the peers alternate, and only ratios within one run are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bark_onnx.model.manifest import STAGES

WHOLE = "all"  # the key for the time of a peer that does not report its stages

Seconds = dict[str, float]


@dataclass(frozen=True)
class PeerRun:
    """One generation: seconds by stage, and the duration of the audio."""

    seconds: Seconds
    audio_seconds: float


@dataclass(frozen=True)
class Peer:
    """A way to run Bark.

    Args:
        version: of the software, as exactly as possible.
        note: what a reader must know about its figures.
        run: generates the workload from a seed.
    """

    name: str
    version: str
    run: Callable[[int], PeerRun] = field(repr=False)
    note: str | None = None


@dataclass(frozen=True)
class PeerResult:
    """Medians over rounds; `spread` holds the minimum and the maximum."""

    name: str
    version: str
    note: str | None
    median_seconds: Seconds
    spread: dict[str, tuple[float, float]]
    audio_seconds: float
    real_time_factor: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(peers: Sequence[Peer], repeats: int) -> list[PeerResult]:
    """Run `repeats` rounds after a warm-up round; in a round each peer runs once."""
    rounds = [[peer.run(seed) for peer in peers] for seed in range(repeats + 1)][1:]
    return [_result(peer, runs) for peer, runs in zip(peers, zip(*rounds, strict=True), strict=True)]


def _result(peer: Peer, runs: Sequence[PeerRun]) -> PeerResult:
    by_stage = {stage: [run.seconds[stage] for run in runs] for stage in runs[0].seconds}
    return PeerResult(
        name=peer.name,
        version=peer.version,
        note=peer.note,
        median_seconds={stage: round(median(values), 4) for stage, values in by_stage.items()},
        spread={stage: (round(min(values), 4), round(max(values), 4)) for stage, values in by_stage.items()},
        audio_seconds=round(median(run.audio_seconds for run in runs), 4),
        real_time_factor=round(median(sum(run.seconds.values()) / run.audio_seconds for run in runs), 4),
    )


def table(results: Sequence[PeerResult]) -> str:
    """Format the results. The last column is the first row's RTF divided by the row's own."""
    lines = [f"{'':24}" + "".join(f"{column:>11}" for column in (*STAGES, "audio", "RTF", "ratio"))]
    for result in results:
        cells = [_seconds(result.median_seconds.get(stage)) for stage in STAGES]
        ratio = results[0].real_time_factor / result.real_time_factor
        cells += [_seconds(result.audio_seconds), f"{result.real_time_factor:.2f}", f"{ratio:.1f}x"]
        lines.append(f"{result.name[:24]:24}" + "".join(f"{cell:>11}" for cell in cells))
    lines += [f"{result.name}: {result.version}" + (f"; {result.note}" if result.note else "") for result in results]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
