"""Ogg files without what is random in them."""

import struct


def ogg_pages(content: bytes) -> list[bytes]:
    """The pages of an Ogg file, each without its stream's random serial number and without its checksum."""
    pages = []
    while content:
        assert content[:4] == b"OggS"
        segments = content[26]
        length = 27 + segments + sum(content[27 : 27 + segments])
        pages.append(content[:14] + content[18:22] + content[26:length])
        content = content[length:]
    return pages


def page_seconds(page: bytes) -> float:
    """The position at the end of a page of Ogg Opus, in seconds."""
    samples: int = struct.unpack("<q", page[6:14])[0]
    return samples / 48_000
