"""The serial number of an Ogg file, which libsndfile draws at random (RFC 3533, section 6: the header of a page)."""

import zlib

_HEADER = 27  # bytes of a page before its table of segments
_SERIAL, _CHECKSUM, _SEGMENTS = 14, 22, 26  # where they are in the header
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def with_serial_number(content: bytes, serial: int) -> bytes:
    """Return an Ogg file of one stream with another serial number, so that the same audio has the same bytes.

    Args:
        serial: from 0 to 2**32 - 1.
    """
    pages, start = bytearray(content), 0
    while start < len(pages):
        table = start + _HEADER
        segments = pages[start + _SEGMENTS]
        end = table + segments + sum(pages[table : table + segments])
        pages[start + _SERIAL : start + _SERIAL + 4] = serial.to_bytes(4, "little")
        pages[start + _CHECKSUM : start + _CHECKSUM + 4] = bytes(4)
        pages[start + _CHECKSUM : start + _CHECKSUM + 4] = _checksum(pages[start:end]).to_bytes(4, "little")
        start = end
    return bytes(pages)


def _checksum(page: bytes | bytearray) -> int:
    """The CRC of a page. It is zlib's with the bits in the other order, the start value 0, and no inversion."""
    inverted = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{inverted:032b}"[::-1], 2)
