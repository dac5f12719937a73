"""AAC in ADTS, which is what OpenAI's speech API sends as `aac`: frames of AAC, each after a header of its own."""

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Waveform
from .levels import finite
from .pyav import audio_frame, one_line, require_pyav

if TYPE_CHECKING:
    from av import AudioStream, Packet

FRAME = 1024  # samples

# The sample rates of MPEG-4 from 8000 Hz on, in the order of their numbers: ISO/IEC 14496-3, table 1.18.
AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
_BITS_PER_SAMPLE = 4
_MOST_BITS_PER_SECOND = 96_000

_HEADER_BYTES = 7
_LOW_COMPLEXITY = 1  # a profile, which every player has


class AacCodec:
    """FFmpeg's encoder of AAC. A file is the same as a stream, so `corrections` stays empty.

    Speech is 1024 samples later than in the waveform, the encoder's delay. ADTS has no place to say so.
    """

    def __init__(self, rate: int) -> None:
        self.corrections: list[tuple[int, bytes]] = []
        self._rate = rate
        self._held = np.empty(0, np.float32)
        self._samples = 0  # that have been encoded
        av = require_pyav("aac")
        with one_line("cannot write aac"):
            self._encoder = av.AudioCodecContext.create("aac", "w")
            self._encoder.sample_rate, self._encoder.layout, self._encoder.format = rate, "mono", "fltp"
            self._encoder.time_base = Fraction(1, rate)
            self._encoder.bit_rate = min(_BITS_PER_SAMPLE * rate, _MOST_BITS_PER_SECOND)
            self._encoder.flags |= av.codec.context.Flags.bitexact  # without FFmpeg's version in the stream
            self._encoder.open()

    def push(self, waveform: Waveform) -> bytes:
        held = np.concatenate([self._held, waveform])
        whole = len(held) // FRAME * FRAME
        self._held = held[whole:].copy()
        return b"".join(self._encode(held[start : start + FRAME]) for start in range(0, whole, FRAME))

    def finish(self) -> bytes:
        """Encode what is held back. Nothing at all becomes one silent sample, since no reader accepts an empty file."""
        rest = self._held if self._samples or len(self._held) else np.zeros(1, np.float32)
        content = self._encode(rest) if len(rest) else b""
        with one_line("cannot write aac"):
            return content + self._with_headers(self._encoder.encode(None))

    def close(self) -> None:
        """Free the encoder."""
        self._encoder = None

    def _encode(self, samples: Waveform) -> bytes:
        with one_line("cannot write aac"):
            frame = audio_frame(finite(samples).clip(-1, 1), self._rate, self._samples, "fltp")
            self._samples += len(samples)
            return self._with_headers(self._encoder.encode(frame))

    def _with_headers(self, packets: "Iterable[Packet[AudioStream]]") -> bytes:
        return b"".join(adts_header(self._rate, packet.size) + bytes(packet) for packet in packets)


def adts_header(rate: int, size: int) -> bytes:
    """The header before a frame of AAC, mono, without a checksum: ISO/IEC 14496-3, 1.A.2.2.

    Args:
        rate: in Hz, one of AAC_RATES.
        size: bytes of the frame.
    """
    fields = (
        (0xFFF, 12),  # the beginning of a header
        (0b0001, 4),  # MPEG-4, layer 0, no checksum
        (_LOW_COMPLEXITY, 2),
        (AAC_RATES.index(rate), 4),
        (0, 1),
        (1, 3),  # channels
        (0, 4),
        (_HEADER_BYTES + size, 13),
        (0x7FF, 11),  # the bit rate varies
        (0, 2),  # one frame of AAC
    )
    header = 0
    for value, bits in fields:
        header = header << bits | value
    return header.to_bytes(_HEADER_BYTES, "big")
