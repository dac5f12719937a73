"""What a generation returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..audio.files import AudioWriter
from ..model.voice import VoicePreset


@dataclass(frozen=True, eq=False)
class Speech:
    """A waveform, the tokens it was made from, and what it cost.

    Args:
        waveform: float32 [n], mono, full scale at 1.
        sample_rate: in Hz.
        tokens: the full generation, usable as a voice.
        seed: what makes the same tokens again.
        timings: compute seconds by stage.
    """

    waveform: NDArray[np.float32]
    sample_rate: int
    tokens: VoicePreset
    seed: int
    timings: Mapping[str, float]

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return len(self.waveform) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Compute seconds for one second of audio; lower is better."""
        return sum(self.timings.values()) / self.duration

    def save(self, path: str | Path) -> None:
        """Write an audio file as its suffix says (wav, flac, ogg, mp3), whole or not at all. Raises BarkError."""
        with AudioWriter(path, self.sample_rate) as writer:
            writer.write(self.waveform)
