"""The result of a generation."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..arrays import Waveform
from ..audio.files import AudioWriter, encode
from ..model.voice import VoicePreset


@dataclass(frozen=True, eq=False, repr=False)
class Speech:
    """A waveform, the tokens that it was made from, and what it cost.

    Args:
        waveform: float32 [n], mono, full scale at 1.
        sample_rate: in Hz.
        tokens: the full generation, usable as a voice.
        seed: generates the same tokens again.
        timings: compute seconds by stage.
    """

    waveform: Waveform
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
        return sum(self.timings.values()) / self.duration if self.duration else math.inf

    def save(self, path: str | Path) -> None:
        """Write an audio file, whole or not at all, in the format of its suffix (wav, flac, ogg, mp3).

        Raises BarkError.
        """
        with AudioWriter(Path(path), self.sample_rate) as writer:
            writer.write(self.waveform)

    def __repr__(self) -> str:
        return f"<Speech of {self.duration:.2f} s, seed {self.seed}, RTF {self.real_time_factor:.2f}>"

    def _repr_html_(self) -> str:
        """An audio player, for notebooks."""
        wav = base64.b64encode(encode(self.waveform, self.sample_rate)).decode()
        return f'<audio controls src="data:audio/wav;base64,{wav}"></audio><br><small>seed {self.seed}</small>'
