"""Turn text into ids with BERT WordPiece, as the bundle's `tokenizer.json` describes it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as WordPiece

from ..errors import BarkError, BundleError, reason, warn
from .vocabulary import Vocabulary

MARKS = "[♪"  # Bark's own marks, such as [laughs], and songs begin with these


class Tokenizer:
    """The tokenizer of one model.

    Args:
        path: the bundle's `tokenizer.json`.
        vocabulary: the model's.

    Raises BundleError if the file is not a tokenizer, or has more ids than the model.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        try:
            self._word_piece = WordPiece.from_file(str(path))
        except Exception as error:  # `tokenizers` raises bare Exceptions
            raise BundleError(f"{path.name} is not a tokenizer: {reason(error)}") from None
        self._word_piece.no_truncation()
        self._word_piece.no_padding()
        self._vocabulary = vocabulary
        largest = max(self._word_piece.get_vocab().values(), default=0) + vocabulary.text_offset
        if largest >= vocabulary.text_pad:
            raise BundleError(
                f"{path.name} has ids up to {largest}, and the model's text ids end before {vocabulary.text_pad}"
            )

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids of a text in the semantic model's vocabulary, padded: [text_window]. No special tokens.

        A text that is too long is cut, with a warning that says how much is lost. Raises BarkError for a text that says
        nothing (`says_something`), or is not a valid string.
        """
        require_something_to_say(text)
        ids, window = self._ids(text), self._vocabulary.text_window
        if len(ids) > window:
            lost = len(ids) - window
            warn(
                f"the text has {len(ids)} tokens and the model reads {window}: "
                f"the last {lost} ({100 * lost / len(ids):.1f} %) are cut off; "
                "for all of it, use generate_long or say --file"
            )
        padded = np.full(window, self._vocabulary.text_pad, np.int64)
        kept = ids[:window]
        padded[: len(kept)] = np.array(kept, np.int64) + self._vocabulary.text_offset
        return padded

    def count(self, text: str) -> int:
        """Return how many tokens a text has, also if it says nothing. Raises BarkError for an invalid string."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        try:
            # The reference collapses white space before it tokenizes.
            ids: list[int] = self._word_piece.encode(" ".join(text.split()), add_special_tokens=False).ids
        except Exception as error:  # `tokenizers` raises bare Exceptions
            raise BarkError(f"the text cannot be tokenized: {reason(error)}") from None
        return ids


def says_something(text: str) -> bool:
    """Whether a text has something to say: a letter, a digit, or one of Bark's marks (`[` or `♪`).

    Bark invents speech for other texts, such as a line of asterisks, an emoji, or a zero-width space.
    """
    return any(character.isalnum() or character in MARKS for character in text)


def require_something_to_say(text: object) -> None:
    """Raise BarkError unless a text is a string that says something."""
    if not isinstance(text, str):
        raise BarkError(f"the text must be a string, not {type(text).__name__}")
    if not text.strip():
        raise BarkError("the text is empty: there is nothing to say")
    if not says_something(text):
        raise BarkError("there is nothing to say: the text has no letter, no digit, no [mark] and no ♪")
