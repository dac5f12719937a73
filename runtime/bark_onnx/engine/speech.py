"""The result of a generation."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..arrays import Waveform
from ..audio.encoder import encode
from ..audio.files import AudioWriter, check_takes_bytes, write_all
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

    def encode(self, format: str = "wav", *, sample_rate: int | None = None, speed: float = 1.0) -> bytes:
        """Return the bytes of an audio file.

        Args:
            format: wav, flac, ogg (Vorbis), opus (in Ogg), mp3, aac (in ADTS) or pcm (16-bit samples, little-endian, no
                header).
            sample_rate: in Hz; None for the speech's own. wav, ogg and pcm take 8000 to 192000, flac nearly all of
                these; opus, mp3 and aac take the rates that their errors list.
            speed: 0.25 to 4; 2 is twice as fast, with the same pitch.

        Raises BarkError for an unknown format, for a rate that the format does not have, and for a speed out of the
        range. aac, and speeds other than 1, need the extra `av`.
        """
        return encode(self.waveform, self.sample_rate, format, sample_rate, speed)

    def save(
        self,
        target: str | Path | BinaryIO,
        *,
        format: str | None = None,
        sample_rate: int | None = None,
        speed: float = 1.0,
    ) -> None:
        """Write an audio file.

        Args:
            target: a path, where the file is written whole or not at all; or an open binary file, which is written from
                its position on, is left open, and need not be able to seek.
            format, sample_rate, speed: as for `encode`. Without a format, a path's suffix decides, and an open file
                gets wav.

        Raises BarkError.
        """
        if isinstance(target, str | Path):
            with AudioWriter(target, self.sample_rate, format, sample_rate, speed) as writer:
                writer.write(self.waveform)
        else:
            check_takes_bytes(target)
            write_all(target, self.encode("wav" if format is None else format, sample_rate=sample_rate, speed=speed))

    def __repr__(self) -> str:
        return f"<Speech of {self.duration:.2f} s, seed {self.seed}, RTF {self.real_time_factor:.2f}>"

    def _repr_html_(self) -> str:
        """An audio player, for notebooks."""
        wav = base64.b64encode(self.encode()).decode()
        return f'<audio controls src="data:audio/wav;base64,{wav}"></audio><br><small>seed {self.seed}</small>'
