"""Write what is said when, as SubRip subtitles, as WebVTT or as JSON."""

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from html import escape
from itertools import accumulate

from .phrases import lines, phrases, width

__all__ = ["Cue", "at_speed", "to_json", "to_srt", "to_vtt"]


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


def at_speed(cues: Iterable[Cue], speed: float) -> list[Cue]:
    """Return the cues of speech that is played `speed` times as fast as it was generated."""
    return [replace(cue, start=cue.start / speed, end=cue.end / speed) for cue in cues]


def to_json(cues: Iterable[Cue]) -> str:
    """Return a JSON list of objects with start and end (seconds, to the millisecond), speaker (or null) and text."""
    entries = [
        {"start": round(cue.start, 3), "end": round(cue.end, 3), "speaker": cue.speaker, "text": cue.text}
        for cue in cues
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def to_srt(cues: Iterable[Cue]) -> str:
    """Return cues in the SubRip format.

    At most two lines of 42 characters are shown at once. A longer cue is divided where a phrase ends, and
    its time in proportion to its text. A cue names its speaker if the cue before has another one. A cue ends at the
    latest when the next one begins, and takes at least a millisecond. Cues without text are left out.
    """
    blocks = (
        f"{number}\n{_timestamp(part, ',')}\n{part.text}\n"
        for number, part in enumerate(_shown(_named(_in_order(cues))), 1)
    )
    return "\n".join(blocks)


def to_vtt(cues: Iterable[Cue]) -> str:
    """Return cues in the WebVTT format (https://www.w3.org/TR/webvtt1/), divided as for `to_srt`.

    Every cue of a speaker has a voice tag, which names the speaker: `<v HOST>Welcome back.`
    """
    blocks = ["WEBVTT\n"]
    for part in _shown(_in_order(cues)):
        voice = f"<v {escape(part.speaker, quote=False)}>" if part.speaker else ""
        blocks.append(f"{_timestamp(part, '.')}\n{voice}{escape(part.text, quote=False)}\n")
    return "\n".join(blocks)


@dataclass(frozen=True)
class _Part:
    """What is shown at once: start and end in milliseconds, and lines of text."""

    start: int
    end: int
    text: str
    speaker: str | None


def _in_order(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Yield the cues that have text in order of time, each on one safe line."""
    for cue in sorted(cues, key=lambda cue: cue.start):
        text = _safe(cue.text)
        if text:
            yield Cue(cue.start, cue.end, text, _safe(cue.speaker or "") or None)


def _named(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Put the speaker's name before the text if another one spoke before."""
    former = None
    for cue in cues:
        yield replace(cue, text=f"{cue.speaker}: {cue.text}") if cue.speaker and cue.speaker != former else cue
        former = cue.speaker


def _safe(text: str) -> str:
    """Remove what would break the formats: line ends, control characters and arrows."""
    text = " ".join(text.split())
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs"))
    return " ".join(text.split()).replace("-->", "→")


def _shown(cues: Iterable[Cue]) -> Iterator[_Part]:
    """Divide cues. Each part ends when the next one begins, if it would end later, and takes at least a millisecond."""
    parts = [part for cue in cues for part in _divide(cue)]
    free = 0
    for at, part in enumerate(parts):
        start = max(part.start, free)
        following = parts[at + 1].start if at + 1 < len(parts) else part.end
        free = max(start + 1, min(part.end, following))
        yield replace(part, start=start, end=free)


def _divide(cue: Cue) -> list[_Part]:
    """Divide a cue into as many parts as its text needs."""
    texts = phrases(cue.text)
    start, end = round(max(0.0, cue.start) * 1000), round(max(0.0, cue.end) * 1000)
    ends = list(accumulate(map(width, texts), initial=0))
    total = ends[-1] or 1
    times = [start + (end - start) * shown // total for shown in ends]
    return [
        _Part(begins, until, "\n".join(lines(text)), cue.speaker)
        for begins, until, text in zip(times, times[1:], texts, strict=False)
    ]


def _timestamp(part: _Part, point: str) -> str:
    return f"{_time(part.start, point)} --> {_time(part.end, point)}"


def _time(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"
