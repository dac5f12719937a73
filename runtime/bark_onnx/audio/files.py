"""Writing waveforms: audio files and bytes in the format of a suffix, and 16-bit samples as a stream.

Where samples have 16 bits (WAV, FLAC, PCM) they are the same everywhere: full scale is 32768, rounded to nearest.
"""

import io
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..errors import BarkError, reason
from ..files import plain_file, replacing
from .levels import finite

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}  # by suffix, libsndfile's names

# Samples passed to libsndfile at a time. Its Vorbis encoder overflows the stack when it gets minutes at once, and what
# a lossy encoder writes depends on the blocks: with fixed blocks, a file does not depend on the pieces it came in.
_BLOCK = 1 << 14
_MOST_WAV_SAMPLES = (2**32 - 1 - 36) // 2  # a WAV file has 32-bit sizes: 24.8 hours at 24 kHz
_UNKNOWN = 0xFFFF_FFFF  # the size that ffmpeg writes to a pipe; ffmpeg and sox read such a stream to its end

Write: TypeAlias = Callable[[Waveform], None]
"""Takes the next samples [n], float32, mono, full scale at 1."""


class AudioWriter:
    """Writes audio piece by piece, in flat memory. Use it in a `with` statement.

    Args:
        target: a path or an open binary file. A file at a path is written whole or not at all: it appears at the end of
            the block, and after an exception the file that was there before stays. A path that is a pipe or a device
            gets WAV as a stream. An open file must be able to seek, is written from its start, and is left open.
        sample_rate: in Hz.
        audio_format: WAV, FLAC, OGG or MP3. None is the format of the path's suffix; WAV for an open file.

    Raises BarkError for an unknown suffix, at once, and for any failure to write.
    """

    def __init__(self, target: str | Path | BinaryIO, sample_rate: int, audio_format: str | None = None) -> None:
        self._target = Path(target) if isinstance(target, str) else target
        self._sample_rate = sample_rate
        self._format = audio_format or (format_of(self._target) if isinstance(self._target, Path) else "WAV")
        self._context: AbstractContextManager[Write]
        self._write: Write | None = None

    def __enter__(self) -> Self:
        self._context = self._opened()
        with self._one_line():
            self._write = self._context.__enter__()
        return self

    def write(self, waveform: Waveform) -> None:
        """Append [n] samples, mono, full scale at 1; samples beyond full scale are clipped. Raises BarkError."""
        if self._write is None:
            raise ValueError("write to an AudioWriter outside of its with statement")
        with self._one_line():
            self._write(waveform)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import soundfile

        self._write = None
        if kind is None:
            with self._one_line():
                self._context.__exit__(None, None, None)
        else:
            with suppress(OSError, soundfile.SoundFileError):  # the first error is the one to report
                self._context.__exit__(kind, error, traceback)

    @contextmanager
    def _opened(self) -> Iterator[Write]:
        if not isinstance(self._target, Path):
            with self._encoder(self._target) as write:
                yield write
        elif plain_file(self._target) is None:
            with self._target.open("wb") as file:
                yield wav_stream(file, self._sample_rate)
        else:
            with replacing(self._target) as temporary, self._encoder(temporary) as write:
                yield write

    @contextmanager
    def _encoder(self, file: Path | BinaryIO) -> Iterator[Write]:
        """Open a file with libsndfile; samples are held back until there is a block of them."""
        import soundfile  # not at the top: whoever only wants the samples need not load libsndfile

        held = np.empty(0, np.float32)
        # Soundfile refuses a str with surrogates, which stand for bytes that are not UTF-8. Windows has no such names.
        name = os.fsencode(file) if isinstance(file, Path) and sys.platform != "win32" else file
        with (
            _system_errors(file),
            soundfile.SoundFile(name, "w", self._sample_rate, channels=1, format=self._format) as opened,
        ):

            def write(waveform: Waveform) -> None:
                nonlocal held
                if self._format == "WAV" and opened.tell() + len(held) + len(waveform) > _MOST_WAV_SAMPLES:
                    raise BarkError(f"cannot write {self._name}: a WAV file cannot be this long; use .flac")
                held = np.concatenate([held, np.asarray(waveform, np.float32)])
                blocks = len(held) // _BLOCK * _BLOCK
                with _system_errors(file):
                    _write_blocks(opened, held[:blocks])
                held = held[blocks:].copy()

            yield write
            _write_blocks(opened, held)

    @property
    def _name(self) -> str:
        return str(self._target if isinstance(self._target, Path) else self._format)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turn what libsndfile raises, and the file system for a path, into BarkErrors."""
        import soundfile

        at_path = isinstance(self._target, Path)
        try:
            yield
        except OSError as error:
            if not at_path:
                raise
            raise BarkError(f"cannot write {self._name}: {reason(error)}") from None
        except soundfile.SoundFileError as error:
            library = f"libsndfile {soundfile.__libsndfile_version__}, {self._format}"
            raise BarkError(f"cannot write {self._name}: {reason(error)} ({library})") from None


def encode(waveform: Waveform, sample_rate: int, audio_format: str = "WAV") -> bytes:
    """Return the bytes of an audio file of [n] samples. Raises BarkError if libsndfile cannot write the format."""
    content = io.BytesIO()
    with AudioWriter(content, sample_rate, audio_format) as writer:
        writer.write(waveform)
    return content.getvalue()


def format_of(path: Path) -> str:
    """The format to write at a path, by its suffix. Raises BarkError.

    A pipe or a device takes WAV, with or without the suffix, because the other formats need to seek.
    """
    try:
        plain = plain_file(path) is not None
    except OSError as error:
        raise BarkError(f"cannot write {path}: {reason(error)}") from None
    suffix = path.suffix.lower()
    if not plain and suffix in ("", ".wav") and not path.is_dir():
        return "WAV"
    if suffix not in FORMATS:
        raise BarkError(f"{path}: no audio format for the suffix {path.suffix!r}; use {', '.join(FORMATS)}")
    if not plain and not path.is_dir():
        raise BarkError(f"{path} is a pipe or a device, which takes WAV only, not {path.suffix}")
    return FORMATS[suffix]


def wav_stream(file: IO[bytes], sample_rate: int, *, header: bool = True) -> Write:
    """Begin a stream of 16-bit samples, for a reader that plays it while it is made.

    Args:
        file: need not be able to seek.
        header: write a WAV header now, without the number of samples, which nobody knows yet.

    Returns the function that writes the next samples, and passes them on at once.
    """
    if header:
        file.write(wav_header(sample_rate))
        file.flush()

    def write(waveform: Waveform) -> None:
        file.write(pcm(waveform))
        file.flush()

    return write


def wav_header(sample_rate: int) -> bytes:
    """The 44 bytes that begin a WAV stream, mono and 16-bit, of unknown length."""
    return (
        struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        + struct.pack("<4sI", b"data", _UNKNOWN)
    )


def pcm(waveform: Waveform) -> bytes:
    """[n] samples as little-endian signed 16-bit: clipped, rounded to nearest; NaN becomes silence."""
    return _int16(waveform).astype("<i2").tobytes()


@contextmanager
def _system_errors(file: Path | BinaryIO) -> Iterator[None]:
    """Find out why libsndfile could not write to a path: it says "System error", whether the disk is full or broken.

    Raises the OSError that writing to the end of the file raises; else libsndfile's own error.
    """
    import soundfile

    try:
        yield
    except soundfile.SoundFileError:
        if isinstance(file, Path):
            with file.open("ab", buffering=0) as end:
                end.write(bytes(_BLOCK))
        raise


def _write_blocks(file: Any, waveform: Waveform) -> None:
    """Write [n] samples to a `soundfile.SoundFile`, block by block."""
    for start in range(0, len(waveform), _BLOCK):
        block = waveform[start : start + _BLOCK]
        file.write(_int16(block) if file.subtype == "PCM_16" else finite(block).clip(-1, 1))


def _int16(waveform: Waveform) -> NDArray[np.int16]:
    scaled: NDArray[np.float32] = np.rint(finite(waveform) * np.float32(32768))
    return scaled.clip(-32768, 32767).astype(np.int16)
