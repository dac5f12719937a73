"""The words of subtitles: SubRip (.srt) and WebVTT (.vtt).

The rule: numbers, times, names of cues, comments, styles and tags are left out, and so are the dashes before speakers
and a line that repeats the line before it, as automatic subtitles do. The cues become one text, since sentences go on
from cue to cue; a pause of two seconds or more ends a paragraph. The times of the file are not kept.
"""

import re
from collections import Counter

from .markup import unescape
from .prose import Prose, tidy

PAUSE = 2.0  # seconds between two cues that end a paragraph

_STAMP = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMES = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?")
_TAGS = re.compile(r"</?[A-Za-z][^<>]*+>|<(?:\d+:)*\d+\.\d+>|\{\\[^{}]*+\}")
_ESCAPES = re.compile(r"\\[Nnh]")
_DASH = re.compile(r"[-–—]\s*(?=\w|\[|¿|¡|[\"“‘'])")
_NO_CUE = ("WEBVTT", "NOTE", "STYLE", "REGION")


def read_cues(content: str) -> Prose:
    """Return the words of subtitles."""
    out: list[str] = []
    left_out: Counter[str] = Counter()
    ended, last, skips, after_blank = 0.0, "", False, True
    lines = content.split("\n")
    for number, line in enumerate(lines):
        line = line.strip()
        times = TIMES.fullmatch(line)
        if times:
            skips = False
            left_out["times"] += 1
            if out and _seconds(times.groups()[:4]) - ended >= PAUSE:
                out.append("")
            ended = _seconds(times.groups()[4:])
        elif not line:
            skips = False
        elif skips or (after_blank and _is_no_cue(line, number)):
            skips = True
            left_out["comments and styles"] += 1
        elif _names_a_cue(lines, number, after_blank):
            left_out["numbers and names of cues"] += 1
        else:
            words = _words(line, left_out)
            if words and words == last:
                left_out["repeated lines"] += 1
            elif words:
                out.append(words)
                last = words
        after_blank = not line
    return Prose(tidy("\n".join(out)), left_out)


def _is_no_cue(line: str, number: int) -> bool:
    word = line.removeprefix("\ufeff").split(maxsplit=1)[0]
    return word in _NO_CUE and (word != "WEBVTT" or number == 0)


def _names_a_cue(lines: list[str], number: int, after_blank: bool) -> bool:
    """Whether a line is the number or the name above the times of a cue."""
    follows = number + 1 < len(lines) and TIMES.fullmatch(lines[number + 1].strip())
    return bool(follows) and (after_blank or lines[number].strip().isdigit())


def _words(line: str, left_out: Counter[str]) -> str:
    line, tags = _TAGS.subn("", line)
    left_out["tags"] += tags
    line = " ".join(unescape(_ESCAPES.sub(" ", line)).split())
    dash = _DASH.match(line)
    if dash:
        left_out["dashes"] += 1
        line = line[dash.end() :]
    return line


def _seconds(stamp: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = stamp
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(f"{seconds}.{fraction}")
