"""Passages in words, of a whole text and of one that comes piece by piece.

Texts are split as they are written, so that normalising moves no end of a sentence; how much fits in a passage is
measured on its words. A passage keeps both, so that subtitles show what is written.
"""

from collections.abc import Callable
from dataclasses import replace

from ..splitting.passages import Passage, passages
from ..splitting.pieces import Pieces, PieceSplitter
from .marks import MarkFilter, unmarked
from .normalizer import Normalizer

MOST_WRITTEN = 5000  # characters: no more become words that fit in an utterance, which says about 200


def fits_in_words(text: str, fits: Callable[[str], bool], normalizer: Normalizer) -> bool:
    """Whether one utterance can say the words of a text without marks."""
    return len(text) <= MOST_WRITTEN and fits(normalizer.words(text))


def in_words(passage: Passage, normalizer: Normalizer) -> Passage:
    """A passage with the words that are said."""
    words = normalizer.words(passage.text)
    return passage if words == passage.text else replace(passage, text=words, written=passage.text)


def normalized_passages(
    text: str, fits: Callable[[str], bool], normalizer: Normalizer | None, speaker: str | None = None
) -> list[Passage]:
    """As `splitting.passages`, in words; as it is written without a normalizer."""
    if normalizer is None:
        return passages(text, fits, speaker)
    found = passages(unmarked(text), lambda part: fits_in_words(part, fits, normalizer), speaker)
    return [in_words(passage, normalizer) for passage in found]


class NormalizingSplitter:
    """As `PieceSplitter`, in words.

    Args:
        fits: whether one utterance can say a text.
        first_clause: see `PieceSplitter`.
    """

    def __init__(self, fits: Callable[[str], bool], first_clause: bool, normalizer: Normalizer) -> None:
        self._normalizer = normalizer
        self._marks = MarkFilter()
        self._splitter = PieceSplitter(lambda part: fits_in_words(part, fits, normalizer), first_clause)

    def push(self, piece: str) -> Pieces:
        """Take the next piece of the text."""
        return self._in_words(self._splitter.push(self._marks.push(piece)))

    def flush(self, *, complete: bool = False) -> Pieces:
        """End the sentence; see `PieceSplitter.flush`."""
        before = self._splitter.push(self._marks.flush())
        if complete and before.passages:
            return self._in_words(before)
        after = self._splitter.flush(complete=complete)
        return self._in_words(Pieces([*before.passages, *after.passages], before.ends_paragraph))

    def _in_words(self, found: Pieces) -> Pieces:
        return found._replace(passages=[in_words(passage, self._normalizer) for passage in found.passages])
