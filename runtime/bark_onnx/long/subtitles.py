"""What was said when: SubRip subtitles and JSON."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .punctuation import CJK

LINE_WIDTH = 42  # Latin characters, the usual limit for subtitles; a CJK character is as wide as two
LINES = 2

_WIDE_ATOM = re.compile(rf"[「『（【《〈“]?[{CJK}][、。，．！？：；」』）】》〉”…ー]*|[^{CJK}]+")


@dataclass(frozen=True)
class Cue:
    """A text and when it is heard, in seconds from the beginning; the times are finite."""

    start: float
    end: float
    text: str
    speaker: str | None = None


def to_json(cues: Iterable[Cue]) -> str:
    """A list of objects with start, end (seconds, to the millisecond), speaker (or null) and text, as given."""
    entries = [
        {"start": round(cue.start, 3), "end": round(cue.end, 3), "speaker": cue.speaker, "text": cue.text}
        for cue in cues
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def to_srt(cues: Iterable[Cue]) -> str:
    """SubRip: at most two lines of 42 characters at a time, longer cues divided in proportion to their text.

    A speaker is named where their turn begins. Times never overlap and never are zero: a cue ends where the next one
    begins, and lasts a millisecond at least. Cues without text are left out.
    """
    shown = _without_overlap([part for cue in _named(cues) for part in _divide(cue)])
    blocks = (
        f"{number}\n{_timestamp(start)} --> {_timestamp(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(shown, 1)
    )
    return "\n".join(blocks)


def _named(cues: Iterable[Cue]) -> Iterator[Cue]:
    """In order of time, on one safe line each, with the speaker before the first cue of their turn."""
    former = None
    for cue in sorted(cues, key=lambda cue: cue.start):
        text, speaker = _safe(cue.text), _safe(cue.speaker or "")
        if text:
            yield Cue(cue.start, cue.end, f"{speaker}: {text}" if speaker and speaker != former else text)
            former = speaker


def _safe(text: str) -> str:
    """Nothing that SubRip could take for its own: one line, no control characters, no arrow."""
    text = " ".join(text.split())
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs"))
    return " ".join(text.split()).replace("-->", "→")


def _divide(cue: Cue) -> list[tuple[int, int, str]]:
    """(start, end, lines) in milliseconds, as many as its text needs."""
    lines = _balanced_lines(cue.text)
    texts = ["\n".join(lines[at : at + LINES]) for at in range(0, len(lines), LINES)]
    start, end = round(max(0.0, cue.start) * 1000), round(max(0.0, cue.end) * 1000)
    total, shown, parts = sum(map(_width, texts)) or 1, 0, []
    for text in texts:
        begins = start + (end - start) * shown // total
        shown += _width(text)
        parts.append((begins, start + (end - start) * shown // total, text))
    return parts


def _without_overlap(parts: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    free = 0
    for at, (begins, ends, text) in enumerate(parts):
        start = max(begins, free)
        following = parts[at + 1][0] if at + 1 < len(parts) else ends
        free = max(start + 1, min(ends, following))
        yield start, free, text


def _balanced_lines(text: str) -> list[str]:
    """The fewest cues that hold the text, with lines as even as words allow, so that the last cue is not one word."""
    atoms = list(_atoms(text))
    cues = -(-len(_lines(atoms, LINE_WIDTH)) // LINES)
    narrow, wide = 1, LINE_WIDTH
    while narrow < wide:
        width = (narrow + wide) // 2
        if len(_lines(atoms, width)) <= cues * LINES:
            wide = width
        else:
            narrow = width + 1
    return _lines(atoms, wide if cues > 1 else LINE_WIDTH)


def _atoms(text: str) -> Iterator[tuple[str, int]]:
    """(What a line may not be broken in, its width): words with the space before them, CJK characters."""
    for word in re.findall(r" ?[^ ]+", text):
        for atom in _WIDE_ATOM.findall(word):
            for piece in _pieces(atom):
                yield piece, _width(piece)


def _pieces(atom: str) -> Iterator[str]:
    """An atom that is wider than a line, cut where it must be, though not before a combining character."""
    piece, width = "", 0
    for character in atom:
        wider = _width(character)
        if width + wider > LINE_WIDTH and wider:
            yield piece
            piece, width = "", 0
        piece, width = piece + character, width + wider
    yield piece


def _lines(atoms: Sequence[tuple[str, int]], width: int) -> list[str]:
    lines: list[str] = []
    line: list[str] = []
    used = 0
    for atom, wide in atoms:
        if line and used + wide > width:
            lines.append("".join(line).strip())
            line, used = [], 0
            if atom.startswith(" "):
                atom, wide = atom[1:], wide - 1
        line.append(atom)
        used += wide
    lines.append("".join(line).strip())
    return [line for line in lines if line]


def _width(text: str) -> int:
    """In Latin characters."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _timestamp(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d},{milliseconds:03d}"
