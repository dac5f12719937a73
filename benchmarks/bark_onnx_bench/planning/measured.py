"""What a machine can do, from the figures of `bark-onnx bench BUNDLE --batch N --json FILE`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bark_onnx.errors import BarkError, reason


@dataclass(frozen=True)
class Measured:
    """A replica that has all cores of the machine.

    Args:
        model, precision: of the bundle.
        voice: None for none.
        cores: of the machine.
        together: how many utterances were generated together.
        rate_alone, rate_together: seconds of audio in a second, for one utterance at a time and for `together`.
        memory_mb: peak of a process that spoke one utterance.
        slot_mb: KV caches of a slot.
    """

    model: str
    precision: str
    voice: str | None
    cores: int
    together: int
    rate_alone: float
    rate_together: float
    memory_mb: int
    slot_mb: float

    def rates(self, slots: int) -> list[float]:
        """Seconds of audio in a second for 1 to `slots` utterances.

        Between the two that were measured the rate is on a line. Beyond them it is that of `together`: nothing that was
        not measured is promised.
        """
        gain = (self.rate_together - self.rate_alone) / (self.together - 1)
        return [self.rate_alone + gain * (min(number, self.together) - 1) for number in range(1, slots + 1)]

    @property
    def hours_per_core_hour(self) -> float:
        """Hours of audio that a core makes in an hour when there is always work."""
        return self.rate_together / self.cores

    def memory_of(self, slots: int) -> float:
        """MB of a replica: of one utterance, and the KV caches of the other slots."""
        return self.memory_mb + (slots - 1) * self.slot_mb


def read_figures(path: Path) -> list[Measured]:
    """One for each voice that was measured. Raises BarkError if the file has no figures of batches."""
    try:
        figures: Any = json.loads(path.read_text(encoding="utf-8"))
        found = [_measured(figures, batch) for batch in figures["batches"] if batch["utterances"] > 1]
    except OSError as error:
        raise BarkError(f"{path} cannot be read: {reason(error)}") from None
    except (ValueError, KeyError, TypeError, StopIteration):
        raise BarkError(f"{path} is not what `bark-onnx bench --batch N --json` writes") from None
    if not found:
        raise BarkError(f"{path} has no figures of batches: run `bark-onnx bench --batch 8 --json {path}`")
    return found


def _measured(figures: Any, batch: Any) -> Measured:
    audio = next(one["audio_seconds"] for one in figures["measurements"] if one["voice"] == batch["voice"])
    seconds = audio * batch["utterances"]
    return Measured(
        model=str(figures["bundle"]["model"]),
        precision=str(figures["bundle"]["precision"]),
        voice=batch["voice"],
        cores=figures["threads"] or figures["machine"]["cores"],
        together=batch["utterances"],
        rate_alone=seconds / batch["alone_seconds"],
        rate_together=seconds / batch["together_seconds"],
        memory_mb=figures["peak_memory_mb"],
        slot_mb=batch["bytes_per_slot"] / 1e6,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
