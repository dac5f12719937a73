"""The audio formats that can be written: one table."""

from dataclasses import dataclass

from ..errors import BarkError, shown
from .aac import AAC_RATES
from .pyav import has_pyav, require_pyav

ANY_RATE = (range(8_000, 192_001),)


def _only(*rates: int) -> tuple[range, ...]:
    return tuple(range(rate, rate + 1) for rate in rates)


@dataclass(frozen=True)
class AudioFormat:
    """An audio format.

    Args:
        name: as callers write it.
        media_type: for HTTP.
        container, subtype: libsndfile's names; None where libsndfile does not encode it.
        rates: the sample rates that it can have, in Hz.
        streams: whether a stream of it is complete. A FLAC stream is not: the number of samples stands at its
            beginning, and is known at its end. ffmpeg plays such a stream, libsndfile refuses it.
        by_pyav: whether PyAV encodes it, which may be missing.
    """

    name: str
    media_type: str
    container: str | None = None
    subtype: str | None = None
    rates: tuple[range, ...] = ANY_RATE
    streams: bool = True
    by_pyav: bool = False

    @property
    def suffix(self) -> str:
        """The suffix of a file's name, with its dot."""
        return f".{self.name}"

    @property
    def is_installed(self) -> bool:
        """Whether it can be written here."""
        return has_pyav() or not self.by_pyav

    def check_installed(self) -> None:
        """Raise a BarkError that says what to install, if this format cannot be written here."""
        if self.by_pyav:
            require_pyav(self.name)

    def check_rate(self, rate: int) -> None:
        """Raise a BarkError that lists the sample rates of this format, if `rate` is not one of them."""
        if not any(rate in rates for rates in self.rates):
            listed = ", ".join(map(_shown, self.rates))
            raise BarkError(f"{self.name} takes a sample rate of {listed} Hz, not {shown(rate)}")


def _shown(rates: range) -> str:
    if len(rates) == 1:
        return str(rates[0])
    return f"{rates[0]} to {rates[-1]}" + (f" in steps of {rates.step}" if rates.step > 1 else "")


_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

FORMATS = {
    one.name: one
    for one in (
        AudioFormat("wav", "audio/wav"),
        AudioFormat(
            "flac", "audio/flac", "FLAC", "PCM_16", (range(8_000, 65_536), range(65_540, 192_001, 10)), streams=False
        ),
        AudioFormat("ogg", "audio/ogg", "OGG", "VORBIS"),
        AudioFormat("opus", "audio/ogg; codecs=opus", "OGG", "OPUS", _only(8_000, 12_000, 16_000, 24_000, 48_000)),
        AudioFormat("mp3", "audio/mpeg", "MP3", "MPEG_LAYER_III", _only(*_MP3_RATES)),
        AudioFormat("aac", "audio/aac", rates=_only(*sorted(AAC_RATES)), by_pyav=True),
        AudioFormat("pcm", "audio/pcm"),
    )
}
"""By name. `wav`, `flac` and `pcm` have 16 bits; `pcm` is little-endian, without a header."""

SUFFIXES = {one.suffix: one for one in FORMATS.values()}


def format_named(name: str) -> AudioFormat:
    """Return the format with this name. Raises a BarkError that lists the names."""
    if not isinstance(name, str) or name not in FORMATS:
        raise BarkError(f"no audio format {shown(name)}; use {', '.join(FORMATS)}")
    return FORMATS[name]
