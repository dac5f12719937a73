"""What a subtitle shows at once: two lines of 42 characters, which end where a phrase ends."""

import re
import unicodedata
from collections.abc import Iterator

from ..splitting.passages import passages
from ..splitting.punctuation import CJK

LINE_WIDTH = 42  # Latin characters, the usual limit of subtitles; a CJK character is as wide as two Latin ones
LINES = 2

_WIDE_ATOM = re.compile(rf"[「『（【《〈“]?[{CJK}][、。，．！？：；」』）】》〉”…ー]*|[^{CJK}]+")


def phrases(text: str) -> list[str]:
    """Divide a text into as few parts as two lines of 42 characters allow, each of them whole sentences.

    A sentence that does not fit is divided where clauses end, and a clause that does not fit between words. White space
    is collapsed.
    """
    return [part.text for part in passages(" ".join(text.split()), _fits)]


def lines(text: str) -> list[str]:
    """Break a text into lines of at most 42 characters."""
    found: list[str] = []
    line: list[str] = []
    used = 0
    for atom, wide in _atoms(text):
        if line and used + wide > LINE_WIDTH:
            found.append("".join(line).strip())
            line, used = [], 0
            if atom.startswith(" "):
                atom, wide = atom[1:], wide - 1
        line.append(atom)
        used += wide
    found.append("".join(line).strip())
    return [line for line in found if line]


def width(text: str) -> int:
    """Return the width of a text in Latin characters."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _fits(text: str) -> bool:
    return width(text) <= LINES * LINE_WIDTH and len(lines(text)) <= LINES


def _atoms(text: str) -> Iterator[tuple[str, int]]:
    """Yield what must stay on one line, with its width: a word with the space before it, or a CJK character."""
    for word in re.findall(r" ?[^ ]+", text):
        for atom in _WIDE_ATOM.findall(word):
            for piece in _pieces(atom):
                yield piece, width(piece)


def _pieces(atom: str) -> Iterator[str]:
    """Cut an atom into pieces that are not wider than a line, and never before a combining character."""
    start = used = 0
    for at, character in enumerate(atom):
        wide = width(character)
        if used + wide > LINE_WIDTH and wide:
            yield atom[start:at]
            start, used = at, 0
        used += wide
    yield atom[start:]
