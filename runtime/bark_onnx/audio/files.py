"""Writing audio: files that appear whole or not at all, open files, and streams of 16-bit samples."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeAlias

from ..arrays import Waveform
from ..errors import BarkError, reason
from ..files import plain_file, replacing
from .encoder import StreamEncoder, check_encoding
from .encoder import encode as encode
from .formats import FORMATS, SUFFIXES, AudioFormat, format_named
from .samples import MOST_WAV_BYTES
from .samples import pcm as pcm
from .samples import wav_header as wav_header

__all__ = ["AudioWriter"]

Write: TypeAlias = Callable[[Waveform], None]
"""Takes the next samples [n], float32, mono, full scale at 1."""


class AudioWriter:
    """Writes audio piece by piece, in flat memory. Use it in a `with` statement.

    Args:
        target: a path or an open binary file. A file at a path is written whole or not at all: it appears at the end of
            the block, and after an exception the file that was there before stays. An open file is written from its
            position on, and is left open. A pipe, a device or an open file that cannot seek gets a stream, as
            `bark_onnx.audio.encoder.StreamEncoder` makes it.
        sample_rate: of the samples, in Hz.
        format: wav, flac, ogg, opus, mp3, aac or pcm. None is the format of the path's suffix; wav for an open file.
        output_rate: of the file, in Hz; None for the same.
        speed: of the speech in the file, 0.25 to 4.

    Raises BarkError at once for what `StreamEncoder` refuses, for an unknown suffix, and for an open file that takes no
    bytes; later for any failure to write at a path.
    """

    def __init__(
        self,
        target: str | Path | IO[bytes],
        sample_rate: int,
        format: str | None = None,
        output_rate: int | None = None,
        speed: float = 1.0,
    ) -> None:
        self._target = Path(target) if isinstance(target, str) else target
        self._format = _format_for(self._target, format)
        self._encoding = (self._format.name, sample_rate, output_rate, speed)
        check_encoding(*self._encoding)
        if not isinstance(self._target, Path):
            check_takes_bytes(self._target)
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
        self._write = None
        if kind is None:
            with self._one_line():
                self._context.__exit__(None, None, None)
        else:
            with suppress(OSError):  # the first error is the one to report
                self._context.__exit__(kind, error, traceback)

    @contextmanager
    def _opened(self) -> Iterator[Write]:
        if not isinstance(self._target, Path):
            with self._encoder(self._target, can_seek=_can_seek(self._target)) as write:
                yield write
        elif plain_file(self._target) is None:
            with self._target.open("wb") as file, self._encoder(file, can_seek=False) as write:
                yield write
        else:
            with (
                replacing(self._target) as temporary,
                temporary.open("wb") as file,
                self._encoder(file, can_seek=True) as write,
            ):
                yield write

    @contextmanager
    def _encoder(self, file: IO[bytes], *, can_seek: bool) -> Iterator[Write]:
        """Encode to an open file. If it can seek, the encoder's corrections are written at the end."""
        start = file.tell() if can_seek else 0
        written = 0

        def put(content: bytes) -> None:
            nonlocal written
            written += len(content)
            if self._format.name == "wav" and can_seek and written > MOST_WAV_BYTES:
                raise BarkError(f"cannot write {self._name}: a WAV file cannot be this long; use .flac")
            write_all(file, content)
            if not can_seek:
                file.flush()

        with StreamEncoder(*self._encoding) as encoder:
            yield lambda waveform: put(encoder.push(waveform))
            put(encoder.finish())
        for position, content in encoder.corrections if can_seek else []:
            file.seek(start + position)
            write_all(file, content)
        if can_seek:
            file.seek(start + written)

    @property
    def _name(self) -> str:
        return str(self._target if isinstance(self._target, Path) else self._format.name)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turn what the file system raises for a path into BarkErrors."""
        try:
            yield
        except OSError as error:
            if not isinstance(self._target, Path):
                raise
            raise BarkError(f"cannot write {self._name}: {reason(error)}") from None


def format_of(path: Path) -> AudioFormat:
    """Return the format to write at a path, by its suffix. Raises BarkError.

    A pipe or a device takes WAV without the suffix too. It does not take FLAC, which cannot be streamed.
    """
    plain = _is_plain(path)
    suffix = path.suffix.lower()
    if not plain and not suffix:
        return FORMATS["wav"]
    if suffix not in SUFFIXES:
        raise BarkError(f"{path}: no audio format for the suffix {path.suffix!r}; use {', '.join(SUFFIXES)}")
    _check_streams(path, SUFFIXES[suffix], plain=plain)
    return SUFFIXES[suffix]


def _format_for(target: Path | IO[bytes], name: str | None) -> AudioFormat:
    """The format with a name; or without one, the format of a path's suffix, and WAV for an open file."""
    if not isinstance(target, Path):
        return format_named(name or "wav")
    if name is None:
        return format_of(target)
    _check_streams(target, format_named(name), plain=_is_plain(target))
    return format_named(name)


def _is_plain(path: Path) -> bool:
    """Whether a path leads to a plain file or a directory, or to nothing yet. Raises BarkError."""
    try:
        return plain_file(path) is not None or path.is_dir()
    except OSError as error:
        raise BarkError(f"cannot write {path}: {reason(error)}") from None


def _check_streams(path: Path, audio_format: AudioFormat, *, plain: bool) -> None:
    if not plain and not audio_format.streams:
        streamed = ", ".join(one.suffix for one in FORMATS.values() if one.streams)
        raise BarkError(f"{path} is a pipe or a device, and {audio_format.name} cannot be streamed; use {streamed}")


def check_takes_bytes(file: IO[bytes]) -> None:
    """Raise a BarkError unless an open file can be written to, and in bytes."""
    if getattr(file, "closed", False):
        raise BarkError("the file to write to is closed")
    try:
        file.write(b"")
    except (TypeError, io.UnsupportedOperation):
        raise BarkError('the file to write to takes no bytes: open it with mode "wb"') from None
    except AttributeError:
        raise TypeError(f"audio is written to a path or to an open binary file, not {type(file).__name__}") from None


def write_all(file: IO[bytes], content: bytes) -> None:
    """Write bytes to an open file, which may take only a part of them at a time, as an unbuffered one does."""
    rest = memoryview(content)
    while rest:
        taken = file.write(rest)
        if taken is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError("the file takes no more bytes now, and does not block")
        rest = rest[len(rest) if taken is None else taken :]


def _can_seek(file: IO[bytes]) -> bool:
    """Whether bytes of a file can be written again. In a file that is opened to append they cannot."""
    seekable = getattr(file, "seekable", None)
    return callable(seekable) and bool(seekable()) and "a" not in str(getattr(file, "mode", ""))
