"""Writing waveforms: files by their suffix, WAV bytes for a pipe."""

import io
from pathlib import Path

from .arrays import Waveform
from .errors import BarkError, reason
from .files import replacing

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}  # by suffix, libsndfile's names


def save_audio(path: str | Path, waveform: Waveform, sample_rate: int) -> None:
    """Write a file, whole or not at all, in the format its suffix names (wav, flac, ogg, mp3). Raises BarkError.

    Args:
        waveform: [n] mono, full scale at 1; what is beyond is clipped.
    """
    path = Path(path)
    content = encode(waveform, sample_rate, audio_format(path))
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise BarkError(f"cannot write {path}: {reason(error)}") from None


def audio_format(path: Path) -> str:
    """The format that a suffix stands for. Raises BarkError for a suffix that is none."""
    if path.suffix.lower() not in FORMATS:
        raise BarkError(f"{path}: no audio format for the suffix {path.suffix!r}; use {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def encode(waveform: Waveform, sample_rate: int, audio_format: str = "WAV") -> bytes:
    """The bytes of an audio file: 16-bit where the format has samples of a width."""
    import soundfile  # not at the top: who only wants the samples need not load libsndfile

    file = io.BytesIO()
    try:
        soundfile.write(file, waveform.clip(-1, 1), sample_rate, format=audio_format)
    except soundfile.SoundFileError as error:
        raise BarkError(f"libsndfile {soundfile.__libsndfile_version__} cannot write {audio_format}: {error}") from None
    return file.getvalue()
