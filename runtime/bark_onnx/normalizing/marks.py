"""Marks of Markdown in a text that may still come: they are taken out, and lines that they set apart get a full stop.

A language model writes such marks in a chat. How the text is cut into pieces does not change the result: a word is
passed on when it is complete. Files of `say --file` are read by `texts.markdown`, which sees a whole document.
"""

import re
from dataclasses import dataclass

from ..splitting.punctuation import CJK

LONGEST = 200  # characters that are held back while a word, or a name in brackets, has not ended

_LINK = re.compile(r"(!?)\[([^\[\]\n]{0,200})\]\((?:[^()\s]++|\([^()\s]*+\))*+\)")
_LINE = re.compile(
    r"[^\S\n]*(?:(?:(?:"
    r"\|(?::?-++:?\|)++|:?-{3,}+:?(?:\|:?-{3,}+:?)*+|[*_=]{3,}+|#{1,6}|[-*+•]|\[[ xX]\]|>{1,9}|(?:```|~~~)\S*)(?=\s|\Z)"
    r"|\|)[^\S\n]*+)++"
)  # what may stand before the first word of a line
_NUMBERED = re.compile(r"[^\S\n]*\d{1,3}[.)]\s")  # a list item, which stays
_RUN = re.compile(r"[*_~]++")
_LETTER = re.compile(rf"[^\W_{CJK}]")  # before and after which * and _ are no marks: snake_case, 5*3
_COMPLETE = re.compile(rf".*[\s{CJK}]", re.DOTALL)


@dataclass
class MarkFilter:
    """Passes on a text without its marks."""

    _held: str = ""  # of a word that has not ended
    _at_start: bool = True  # of a line, or only marks stand before
    _marked: bool = False  # the line had a mark
    _row: bool = False  # the line is a row of a table
    _last: str = ""  # the last character other than white space

    def push(self, piece: str) -> str:
        """Take the next piece. Returns what is complete."""
        text = self._held + piece
        found = _COMPLETE.match(text)
        end = found.end() if found else 0
        bracket = text.rfind("[", 0, end)
        if bracket >= 0:
            closed = text.find("]", bracket)
            if closed >= end or (closed < 0 and len(text) - bracket <= LONGEST):
                end = bracket - text.startswith("!", bracket - 1) if bracket else 0
        if len(text) - end > LONGEST:
            end = len(text)
        self._held = text[end:]
        return self._without_marks(text[:end])

    def flush(self) -> str:
        """Return what is left."""
        text, self._held = self._held, ""
        return self._without_marks(text)

    def _without_marks(self, text: str) -> str:
        out = []
        for part in re.split("(\n)", _LINK.sub(_words_of_link, text)):
            if part == "\n":
                stop = self._marked and self._last.isalnum()
                out.append(("。\n" if re.match(f"[{CJK}]", self._last) else ".\n") if stop else part)
                self._at_start, self._marked, self._row = True, False, False
            elif part:
                out.append(self._without_marks_in_line(part))
        return "".join(out)

    def _without_marks_in_line(self, part: str) -> str:
        if self._at_start and (marks := _LINE.match(part)):
            part = part[marks.end() :]
            self._marked = True
            self._row |= "|" in marks.group()
        self._marked |= self._at_start and bool(_NUMBERED.match(part))
        self._at_start &= not part.strip()
        part = _RUN.sub(_kept, part.replace("`", ""))
        if self._row:
            part = part.replace("|", ",")
        self._last = part.rstrip()[-1:] or self._last
        return part


def unmarked(text: str) -> str:
    """A whole text without its marks."""
    marks = MarkFilter()
    return marks.push(text) + marks.flush()


def _words_of_link(match: re.Match[str]) -> str:
    """The words of a link; nothing for a picture."""
    return "" if match.group(1) else match.group(2)


def _kept(run: re.Match[str]) -> str:
    """What stays of a run of signs: all of it inside of words, and where it is no mark of emphasis: "5 * 3", "~5"."""
    before, after = run.string[max(0, run.start() - 1) : run.start()], run.string[run.end() : run.end() + 1]
    inside = bool(_LETTER.match(before) and _LETTER.match(after))
    alone = not before.strip() and not after.strip() and len(run.group()) == 1
    return run.group() if inside or alone or run.group() == "~" else ""
