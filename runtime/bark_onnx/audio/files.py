"""Writing waveforms: files by their suffix, whole or as they grow; WAV and PCM bytes for a pipe.

Where samples have 16 bits (WAV, FLAC, PCM) they are the same everywhere: full scale is 32768, rounded to nearest.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..errors import BarkError, reason
from ..files import replacing
from .levels import finite

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}  # by suffix, libsndfile's names

# Samples handed to libsndfile at a time: its Vorbis encoder overflows the stack on minutes at once, and what a lossy
# encoder makes depends on where the blocks end, so a file does not depend on who wrote it in which pieces.
_BLOCK = 1 << 14
_UNKNOWN = 0xFFFF_FFFF  # what ffmpeg writes to a pipe as a size; it and sox read such a stream to its end


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

    content = io.BytesIO()
    try:
        with soundfile.SoundFile(content, "w", sample_rate, channels=1, format=audio_format) as file:
            _write_blocks(file, waveform)
    except soundfile.SoundFileError as error:
        raise BarkError(f"libsndfile {soundfile.__libsndfile_version__} cannot write {audio_format}: {error}") from None
    return content.getvalue()


def pcm(waveform: Waveform) -> bytes:
    """[n] samples as little-endian signed 16-bit: clipped, rounded to nearest; what is not a number is silence."""
    return _int16(waveform).astype("<i2").tobytes()


def wav_header(sample_rate: int, samples: int | None) -> bytes:
    """The 44 bytes before `pcm` that make it a mono 16-bit WAV.

    Args:
        samples: how many follow; None: a stream that ends where it ends, for a pipe.

    Raises BarkError for more samples than a WAV's sizes can say, which is 24.8 hours at 24 kHz.
    """
    data = _UNKNOWN if samples is None else 2 * samples
    riff = _UNKNOWN if samples is None else 36 + data
    if riff > _UNKNOWN:
        raise BarkError(f"{samples} samples are too many for a WAV file")
    return (
        struct.pack("<4sI4s", b"RIFF", riff, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        + struct.pack("<4sI", b"data", data)
    )


class AudioWriter:
    """An audio file that grows as it is written to, in flat memory; used in a `with` statement.

    It is written under another name beside `path` and takes the name when the block ends well; after an exception
    nothing is left, and a file that was there before stays. It holds what `save_audio` of everything at once would.

    Args:
        path: its suffix names the format (wav, flac, ogg, mp3).
        sample_rate: in Hz.

    Raises BarkError for a suffix that is no format, at once, and wherever the file cannot be written.
    """

    def __init__(self, path: str | Path, sample_rate: int) -> None:
        self._path = Path(path)
        self._sample_rate = sample_rate
        self._format = audio_format(self._path)
        self._open = ExitStack()
        self._file: Any = None
        self._held = np.empty(0, np.float32)  # the beginning of the next block

    def __enter__(self) -> Self:
        import soundfile

        with self._one_line(), ExitStack() as opening:
            temporary = opening.enter_context(replacing(self._path))
            self._file = opening.enter_context(
                soundfile.SoundFile(temporary, "w", self._sample_rate, channels=1, format=self._format)
            )
            self._open = opening.pop_all()
        return self

    def write(self, waveform: Waveform) -> None:
        """Append [n] samples, mono, full scale at 1; what is beyond is clipped. Raises BarkError."""
        if self._file is None:
            raise ValueError("write to an AudioWriter outside of its with statement")
        self._held = np.concatenate([self._held, np.asarray(waveform, np.float32)])
        blocks = len(self._held) // _BLOCK * _BLOCK
        with self._one_line():
            _write_blocks(self._file, self._held[:blocks])
        self._held = self._held[blocks:].copy()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import soundfile

        file, self._file = self._file, None
        if kind is None:
            with self._one_line(), self._open:
                _write_blocks(file, self._held)
        else:
            with suppress(OSError, soundfile.SoundFileError):  # what went wrong first is what to tell
                self._open.__exit__(kind, error, traceback)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """What libsndfile and the file system raise, as BarkErrors."""
        import soundfile

        try:
            yield
        except OSError as error:
            raise BarkError(f"cannot write {self._path}: {reason(error)}") from None
        except soundfile.SoundFileError as error:  # "System error", whatever it was
            raise BarkError(
                f"cannot write {self._path}: {reason(error)} (libsndfile {soundfile.__libsndfile_version__}, "
                f"{self._format}); is the disk full?"
            ) from None


def _write_blocks(file: Any, waveform: Waveform) -> None:
    """Write [n] samples to a `soundfile.SoundFile`, block by block."""
    for start in range(0, len(waveform), _BLOCK):
        block = waveform[start : start + _BLOCK]
        file.write(_int16(block) if file.subtype == "PCM_16" else finite(block).clip(-1, 1))


def _int16(waveform: Waveform) -> NDArray[np.int16]:
    scaled: NDArray[np.float32] = np.rint(finite(waveform) * np.float32(32768))
    return scaled.clip(-32768, 32767).astype(np.int16)
