"""Encode audio while it is made: samples in, bytes of a file out."""

from types import TracebackType
from typing import Protocol, Self

from ..arrays import Waveform
from ..errors import BarkError, shown
from ..numbers import whole
from .aac import AacCodec
from .formats import AudioFormat, format_named
from .resampling import Resampler
from .samples import MOST_WAV_BYTES, WAV_HEADER_BYTES, pcm, wav_header
from .sndfile import SndfileCodec
from .tempo import Tempo, check_speed

__all__ = ["StreamEncoder"]

RESAMPLED_RATES = range(1_000, 1_000_001)  # in Hz, of what may be resampled: soxr takes minutes to begin with others


class StreamEncoder:
    """Encodes audio piece by piece, in flat memory. What `push` and `finish` return, one after another, is the file.

    The bytes do not depend on the pieces in which the samples came. (An Ogg file has a random serial number.) The
    headers come after 20 ms of audio or earlier. How much audio at 24 kHz the first sound needs:

    - `wav` and `pcm`: none. The sizes in the header of a WAV stream are 0xFFFFFFFF, which means unknown.
    - `mp3`: 120 ms. A stream begins with a silent frame, where a file has its length. Together with the encoder's delay
      this makes the speech 1681 samples later than it came; at 32 to 48 kHz 2257.
    - `opus`: 120 ms, in pages of 100 ms.
    - `flac`: 180 ms, in blocks of 4096 samples. A stream does not have its length: ffmpeg plays it, libsndfile refuses
      it. `bark_onnx.Speech.encode` and `bark_onnx.audio.files.AudioWriter` write files with their length.
    - `ogg` (Vorbis): 0.7 s, in pages of 4 kB.
    - `aac`: 130 ms. Speech is 1024 samples later than it came, the encoder's delay, in files too.

    To resample takes 40 to 80 ms more, another speed 50 to 200 ms. The formats other than `mp3` and `aac` do not delay
    speech.

    Use it in a `with` statement, or call `close` if you stop before `finish`.

    Args:
        format: wav, flac, ogg, opus, mp3, aac or pcm.
        sample_rate: of the samples, in Hz.
        output_rate: of the encoded audio, in Hz; None for the same.
        speed: 0.25 to 4: how fast the encoded speech is, with the same pitch.

    Raises BarkError for an unknown format, for a sample rate that the format does not have, for an impossible speed, if
    libsndfile cannot write the format, and if PyAV is missing: aac and speeds other than 1 need it.
    """

    def __init__(self, format: str, sample_rate: int, output_rate: int | None = None, speed: float = 1.0) -> None:
        audio_format, rate = check_encoding(format, sample_rate, output_rate, speed)
        self._tempo = Tempo(speed, whole("sample_rate", sample_rate))
        self._resampler = Resampler(whole("sample_rate", sample_rate), rate)
        self._codec: _Codec | None
        if audio_format.container is not None:
            self._codec = SndfileCodec(audio_format, rate)
        elif audio_format.by_pyav:
            self._codec = AacCodec(rate)
        else:
            self._codec = _PlainCodec(rate if audio_format.name == "wav" else None)
        self.corrections: list[tuple[int, bytes]] = []
        """After `finish`: what a file has in place of bytes that were returned before, as (position, bytes)."""

    def push(self, waveform: Waveform) -> bytes:
        """Take the next samples [n], mono, full scale at 1, and return the bytes that are ready.

        Samples beyond full scale are clipped; NaN counts as silence.
        """
        return self._opened().push(self._resampler.push(self._tempo.push(waveform)))

    def finish(self) -> bytes:
        """Return the last bytes. The encoder is closed after that."""
        codec = self._opened()
        content = codec.push(self._resampler.push(self._tempo.finish()))
        content += codec.push(self._resampler.finish()) + codec.finish()
        self.corrections = codec.corrections
        self._codec = None
        return content

    def close(self) -> None:
        """Free the encoder. What has not been returned is lost."""
        codec, self._codec = self._codec, None
        if codec is not None:
            codec.close()

    def _opened(self) -> "_Codec":
        if self._codec is None:
            raise ValueError("the encoder is closed")
        return self._codec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def encode(
    waveform: Waveform, sample_rate: int, format: str = "wav", output_rate: int | None = None, speed: float = 1.0
) -> bytes:
    """Return the bytes of an audio file of [n] samples, with its length. Arguments and errors as for StreamEncoder."""
    with StreamEncoder(format, sample_rate, output_rate, speed) as encoder:
        content = bytearray(encoder.push(waveform) + encoder.finish())
    for position, correct in encoder.corrections:
        content[position : position + len(correct)] = correct
    return bytes(content)


def check_encoding(
    format: str, sample_rate: int, output_rate: int | None, speed: float = 1.0
) -> tuple[AudioFormat, int]:
    """Return a format and the rate to write. Raises BarkError for what `StreamEncoder` cannot do."""
    audio_format, given = format_named(format), whole("sample_rate", sample_rate)
    audio_format.check_installed()
    check_speed(speed)
    if output_rate is not None and given not in RESAMPLED_RATES:
        raise BarkError(
            f"samples of {RESAMPLED_RATES[0]} to {RESAMPLED_RATES[-1]} Hz can be resampled, not {shown(given)}"
        )
    rate = given if output_rate is None else whole("sample_rate", output_rate)
    audio_format.check_rate(rate)
    return audio_format, rate


class _Codec(Protocol):
    """Encodes samples at the rate of the file."""

    @property
    def corrections(self) -> list[tuple[int, bytes]]: ...

    def push(self, waveform: Waveform) -> bytes: ...

    def finish(self) -> bytes: ...

    def close(self) -> None: ...


class _PlainCodec:
    """Samples of 16 bits, after the header of a WAV file if a sample rate is given."""

    def __init__(self, rate_in_header: int | None) -> None:
        self._rate = rate_in_header
        self._bytes = 0  # returned so far
        self.corrections: list[tuple[int, bytes]] = []

    def push(self, waveform: Waveform) -> bytes:
        header = wav_header(self._rate) if self._rate is not None and not self._bytes else b""
        content = header + pcm(waveform)
        self._bytes += len(content)
        return content

    def finish(self) -> bytes:
        if self._rate is not None and self._bytes <= MOST_WAV_BYTES:
            self.corrections = [(0, wav_header(self._rate, self._bytes - WAV_HEADER_BYTES))]
        return b""

    def close(self) -> None:
        pass
