"""Write what is said when, as SubRip subtitles or as JSON."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .punctuation import CJK

LINE_WIDTH = 42  # Latin characters, the usual limit of subtitles; a CJK character is as wide as two Latin ones
LINES = 2

_WIDE_ATOM = re.compile(rf"[「『（【《〈“]?[{CJK}][、。，．！？：；」』）】》〉”…ー]*|[^{CJK}]+")


@dataclass(frozen=True)
class Cue:
    """A text, and when it is said.

    Args:
        start, end: in seconds from the beginning; they must be finite.
        speaker: None outside of scripts.
    """

    start: float
    end: float
    text: str
    speaker: str | None = None


def to_json(cues: Iterable[Cue]) -> str:
    """Return a JSON list of objects with start and end (seconds, to the millisecond), speaker (or null) and text."""
    entries = [
        {"start": round(cue.start, 3), "end": round(cue.end, 3), "speaker": cue.speaker, "text": cue.text}
        for cue in cues
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def to_srt(cues: Iterable[Cue]) -> str:
    """Return cues in the SubRip format.

    At most two lines of 42 characters are shown at once. The time of a longer cue is divided in proportion to its text.
    A cue names its speaker if the cue before has another one. A cue ends at the latest when the next one begins, and
    takes at least a millisecond. Cues without text are left out.
    """
    shown = _without_overlap([part for cue in _named(cues) for part in _divide(cue)])
    blocks = (
        f"{number}\n{_timestamp(start)} --> {_timestamp(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(shown, 1)
    )
    return "\n".join(blocks)


def _named(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Yield the cues in order of time, each on one safe line, with the speaker's name if another one spoke before."""
    former = None
    for cue in sorted(cues, key=lambda cue: cue.start):
        text, speaker = _safe(cue.text), _safe(cue.speaker or "")
        if text:
            yield Cue(cue.start, cue.end, f"{speaker}: {text}" if speaker and speaker != former else text)
            former = speaker


def _safe(text: str) -> str:
    """Remove what would break the SubRip format: line ends, control characters and arrows."""
    text = " ".join(text.split())
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs"))
    return " ".join(text.split()).replace("-->", "→")


def _divide(cue: Cue) -> list[tuple[int, int, str]]:
    """Divide a cue into as many as its text needs: (start, end, lines), with times in milliseconds."""
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
    """Make each part end when the next one begins, if it would end later, and take at least a millisecond."""
    free = 0
    for at, (begins, ends, text) in enumerate(parts):
        start = max(begins, free)
        following = parts[at + 1][0] if at + 1 < len(parts) else ends
        free = max(start + 1, min(ends, following))
        yield start, free, text


def _balanced_lines(text: str) -> list[str]:
    """Break a text into lines for as few cues as possible. If it needs several, the lines are as even as words allow.

    Without that, the last cue would often have a single word.
    """
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
    """Yield what must stay on one line, with its width: a word with the space before it, or a CJK character."""
    for word in re.findall(r" ?[^ ]+", text):
        for atom in _WIDE_ATOM.findall(word):
            for piece in _pieces(atom):
                yield piece, _width(piece)


def _pieces(atom: str) -> Iterator[str]:
    """Cut an atom into pieces that are not wider than a line, and never before a combining character."""
    start = width = 0
    for at, character in enumerate(atom):
        wider = _width(character)
        if width + wider > LINE_WIDTH and wider:
            yield atom[start:at]
            start, width = at, 0
        width += wider
    yield atom[start:]


def _lines(atoms: Sequence[tuple[str, int]], width: int) -> list[str]:
    """Fill lines of at most `width` with atoms."""
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
    """Return the width of a text in Latin characters."""
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
