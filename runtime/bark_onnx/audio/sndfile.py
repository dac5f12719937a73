"""Encode with libsndfile, without a file: samples in, bytes out, as soon as there are any."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError, reason
from .formats import AudioFormat
from .levels import finite
from .samples import int16

# Samples are passed to libsndfile in blocks of this length. What a lossy encoder writes depends on the blocks: with
# fixed blocks, it does not depend on the pieces in which the samples came. (And the Vorbis encoder overflows the stack
# if it gets minutes at once.) 20 ms is a frame of Opus, and shorter than a frame of the other formats.
BLOCKS_PER_SECOND = 50

# MP3 has a constant bit rate: without the header that is written at the end, as in a stream, libsndfile stops to read a
# variable one before its end. Half the compression means 32 kb/s at 8 to 12 kHz, 80 kb/s at 16 to 24 kHz, and 160 kb/s
# above. (soundfile ignores the mode if no compression is given.)
_OPTIONS: dict[str, dict[str, object]] = {"mp3": {"bitrate_mode": "CONSTANT", "compression_level": 0.5}}

# A command of libsndfile's that soundfile has no name for: the longest page of Ogg Opus, in milliseconds. A libsndfile
# that does not know it keeps its default, 1000.
_SET_OGG_PAGE_LATENCY_MS = 0x1302
_OPUS_PAGE_MS = 100.0


class SndfileCodec:
    """An encoder of libsndfile's. Raises BarkErrors that name libsndfile's version.

    After `finish`, `corrections` holds what a file should have in place of bytes that were returned before: (position,
    bytes), for example the length in a header.
    """

    def __init__(self, audio_format: AudioFormat, rate: int) -> None:
        self._format = audio_format
        self._sink = _Sink()
        self._held = np.empty(0, np.float32)
        self._block = rate // BLOCKS_PER_SECOND
        self._is_empty = True
        with self._one_line():
            self._file = _file_class()(
                self._sink, "w", rate, 1, audio_format.subtype, format=audio_format.container,
                **_OPTIONS.get(audio_format.name, {}),
            )  # fmt: skip
        if audio_format.name == "opus":
            _shorten_pages(self._file, _OPUS_PAGE_MS)

    @property
    def corrections(self) -> list[tuple[int, bytes]]:
        return self._sink.corrections

    def push(self, waveform: Waveform) -> bytes:
        held = np.concatenate([self._held, waveform])
        whole = len(held) // self._block * self._block
        for start in range(0, whole, self._block):
            self._write(held[start : start + self._block])
        self._held = held[whole:].copy()
        return self._sink.take()

    def finish(self) -> bytes:
        """Encode what is held back. Nothing at all becomes one silent sample, since no reader accepts an empty file."""
        if len(self._held):
            self._write(self._held)
        elif self._is_empty:
            self._write(np.zeros(1, np.float32))
        self.close()
        return self._sink.take()

    def close(self) -> None:
        with self._one_line():
            self._file.close()

    def _write(self, block: Waveform) -> None:
        self._is_empty = False
        with self._one_line():
            self._file.write(int16(block) if self._format.subtype == "PCM_16" else finite(block).clip(-1, 1))

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turn what libsndfile raises into one line, and raise what was raised while it wrote, such as Ctrl-C."""
        import soundfile

        try:
            yield
            self._sink.raise_interruption()
        except Exception as error:
            self._sink.raise_interruption()
            if not isinstance(error, (soundfile.SoundFileError, ValueError)):  # ValueError: built without the codec
                raise
            library = f"libsndfile {soundfile.__libsndfile_version__}, {self._format.container}"
            raise BarkError(f"cannot write {self._format.name}: {reason(error)} ({library})") from None


class _Sink:
    """The file that libsndfile writes to. It keeps only what has not been taken, and corrections of the rest."""

    def __init__(self) -> None:
        self._fresh = bytearray()
        self._taken = 0  # bytes
        self._position = 0
        self.corrections: list[tuple[int, bytes]] = []
        self._interruption: BaseException | None = None

    def interrupt(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        """Note what was raised in a callback of libsndfile's, through which it cannot be raised."""
        self._interruption = error

    def raise_interruption(self) -> None:
        """Raise what was noted."""
        error, self._interruption = self._interruption, None
        if error is not None:
            raise error

    def take(self) -> bytes:
        """Return what was written since the last call."""
        fresh, self._fresh = bytes(self._fresh), bytearray()
        self._taken += len(fresh)
        return fresh

    def write(self, content: bytes) -> int:
        behind, fresh = content[: max(0, self._taken - self._position)], content[max(0, self._taken - self._position) :]
        if behind:
            self.corrections.append((self._position, behind))
        at = self._position + len(behind) - self._taken
        self._fresh[at : at + len(fresh)] = fresh
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self.length())[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def length(self) -> int:
        return self._taken + len(self._fresh)


@cache
def _file_class() -> Any:
    """A `soundfile.SoundFile` that writes to a sink.

    soundfile's own callbacks print an exception and go on. And Python raises KeyboardInterrupt in them more often than
    anywhere else: a signal that comes while libsndfile works is handled at the next line of Python.
    """
    import soundfile  # not at the top: WAV and raw samples do not need libsndfile

    def init_virtual_io(self: Any, sink: _Sink) -> Any:
        def callback(kind: str, function: Callable[..., int]) -> Any:
            return soundfile._ffi.callback(f"sf_vio_{kind}", function, error=0, onerror=sink.interrupt)

        self._virtual_io = {  # kept, since libsndfile calls them as long as the file is open
            "get_filelen": callback("get_filelen", lambda _: sink.length()),
            "seek": callback("seek", lambda offset, whence, _: sink.seek(offset, whence)),
            "read": callback("read", lambda *_: 0),
            "write": callback("write", lambda data, count, _: sink.write(soundfile._ffi.buffer(data, count)[:])),
            "tell": callback("tell", lambda _: sink.tell()),
        }
        return soundfile._ffi.new("SF_VIRTUAL_IO *", self._virtual_io)

    return type("_SinkFile", (soundfile.SoundFile,), {"_init_virtual_io": init_virtual_io})


def _shorten_pages(file: Any, milliseconds: float) -> None:
    """Limit the pages of an open `soundfile.SoundFile` of Ogg Opus to this length."""
    import soundfile

    value = soundfile._ffi.new("double *", milliseconds)
    soundfile._snd.sf_command(file._file, _SET_OGG_PAGE_LATENCY_MS, value, soundfile._ffi.sizeof("double"))
