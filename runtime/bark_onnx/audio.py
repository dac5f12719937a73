"""Writing waveforms: files by their suffix, WAV bytes for a pipe."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BarkError
from .files import replacing


def save_audio(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a file, whole or not at all, in the format its suffix names (wav, flac, ogg, mp3). Raises BarkError.

    Args:
        waveform: [n] mono, full scale at 1; what is beyond is clipped.
    """
    import soundfile

    path = Path(path)
    audio_format(path)
    try:
        with replacing(path) as temporary:
            soundfile.write(temporary, waveform.clip(-1, 1), sample_rate)
    except (OSError, soundfile.SoundFileError) as error:
        raise BarkError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


def wav_bytes(waveform: NDArray[np.float32], sample_rate: int) -> bytes:
    """The same as a 16-bit WAV file in memory."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, waveform.clip(-1, 1), sample_rate, format="WAV")
    return file.getvalue()


def audio_format(path: Path) -> str:
    """libsndfile's name of the format a suffix stands for. Raises BarkError for a suffix that is none."""
    import soundfile

    formats: dict[str, Any] = soundfile.available_formats()
    name = path.suffix.lstrip(".").upper()
    if name not in formats:
        known = [suffix for suffix in ("wav", "flac", "ogg", "mp3") if suffix.upper() in formats]
        raise BarkError(f"{path}: no audio format for the suffix {path.suffix!r}; use .{', .'.join(known)}")
    return name
