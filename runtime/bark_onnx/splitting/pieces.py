"""Split a text that comes piece by piece, such as a language model writes it, into passages as soon as they are known.

Where a passage ends depends on the text alone, never on the pieces: the splitter looks at the text after each word (in
Chinese and Japanese, after each character), wherever the pieces end.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .passages import SHORT_SECONDS, Passage, clause_ends, estimate_seconds, passages, sentence_ends, unwrap
from .punctuation import CJK

LONGEST_WORD = 200  # characters; within a longer one the splitter looks at the text as if it were at the end of a word

_UNIT = re.compile(rf"\n|[^\S\n]|[{CJK}]|[^\s{CJK}]+")


class Pieces(NamedTuple):
    """Passages that are known.

    Args:
        passages: in their order.
        ends_paragraph: the last passage before these, which was returned earlier, ends its paragraph.
    """

    passages: list[Passage]
    ends_paragraph: bool


@dataclass
class PieceSplitter:
    """Splits a growing text. `push` and `flush` return the passages that are known since the last call.

    Each sentence is a passage. A sentence that takes less than 2 seconds is spoken together with the next one, since
    Bark speaks short texts badly; one that does not fit in an utterance is divided. A blank line ends a paragraph.

    Args:
        fits: whether one utterance can say a text.
        first_clause: end the very first passage after a clause of at least 2 seconds.
    """

    fits: Callable[[str], bool]
    first_clause: bool = True
    _text: str = ""  # of the current paragraph, without what has been returned
    _word: int = 0  # characters of a word that has not ended
    _newlines: int = 0  # since the last other character than white space
    _begun: bool = False  # whether a passage has been returned
    _found: list[Passage] = field(default_factory=list)
    _ends_paragraph: bool = False  # see Pieces

    def push(self, piece: str) -> Pieces:
        """Take the next piece of the text."""
        for match in _UNIT.finditer(piece.replace("\u2029", "\n\n").replace("\r", "")):
            self._add(match.group())
        return self._returned()

    def flush(self, *, complete: bool = False) -> Pieces:
        """End the sentence.

        Args:
            complete: return complete sentences only, if there are any; else what there is.
        """
        self._look(line_ends=True)
        if not (complete and self._found):
            self._end(paragraph=False)
        return self._returned()

    def _returned(self) -> Pieces:
        found = Pieces(self._found, self._ends_paragraph)
        self._found, self._ends_paragraph = [], False
        return found

    def _add(self, unit: str) -> None:
        if unit.isspace():
            if self._word or (unit == "\n" and not self._newlines):
                self._look(line_ends=unit == "\n")
            self._word = 0
            self._newlines += unit == "\n"
            if self._newlines == 2:
                self._end(paragraph=True)
            elif self._text and (unit == "\n" or not self._text[-1].isspace()):  # more white space changes nothing
                self._text += unit
            return
        self._newlines = 0
        while self._word + len(unit) > LONGEST_WORD:
            room = LONGEST_WORD - self._word
            self._text, unit, self._word = self._text + unit[:room], unit[room:], 0
            self._look()
        self._text += unit
        self._word += len(unit)
        if re.match(f"[{CJK}]", unit):
            self._look()
            self._word = 0

    def _look(self, *, line_ends: bool = False) -> None:
        """Find the passages of the text so far that no later text can change.

        Args:
            line_ends: the text ends where a line does: then a full stop is the end of a sentence.
        """
        space = self._text[len(self._text.rstrip()) :]
        text = unwrap(self._text)
        while (end := self._first_end(text, line_ends=line_ends)) is not None:
            self._emit(text[:end])
            text = text[end:].lstrip()
        self._text = text + space

    def _first_end(self, text: str, *, line_ends: bool) -> int | None:
        ahead = f"{text} Next" if line_ends and text else text  # what follows a sentence, to find its end
        for end in sentence_ends(ahead, 0, len(ahead))[:-1]:
            if _closed(text[:end]) and estimate_seconds(text[:end]) >= SHORT_SECONDS:
                return end
        if self.first_clause and not self._begun:
            for end in clause_ends(text, 0, len(text))[:-1]:
                if _closed(text[:end]) and estimate_seconds(text[:end]) >= SHORT_SECONDS:
                    return end
        if self.fits(text):
            return None
        return len(passages(text, self.fits)[0].text)

    def _end(self, *, paragraph: bool) -> None:
        text, self._text, self._word = unwrap(self._text), "", 0
        if text:
            self._emit(text)
        if paragraph and self._found:
            self._found[-1] = replace(self._found[-1], ends_paragraph=True)
        elif paragraph:
            self._ends_paragraph = True

    def _emit(self, text: str) -> None:
        self._begun = True
        self._found += [replace(passage, ends_paragraph=False) for passage in passages(text, self.fits)]


def _closed(text: str) -> bool:
    """Whether no song is cut here."""
    return text.count("♪") % 2 == 0
