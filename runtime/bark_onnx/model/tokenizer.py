"""Text to ids: BERT WordPiece, as the `tokenizer.json` of the bundle describes it."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as WordPiece

from ..errors import BarkError, BarkWarning, BundleError, reason
from .vocabulary import Vocabulary


class Tokenizer:
    """The text side of the semantic prompt."""

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        try:
            self._word_piece = WordPiece.from_file(str(path))
        except Exception as error:  # what `tokenizers` raises is a bare Exception
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
        """Text -> ids [text_window] in the semantic model's id space, padded; no special tokens.

        Text that is too long is cut, with a warning that says how much. Raises BarkError for empty text.
        """
        space = self._vocabulary
        ids = self._ids(text)
        if len(ids) > space.text_window:
            lost = len(ids) - space.text_window
            warnings.warn(
                f"the text has {len(ids)} tokens and the model reads {space.text_window}: "
                f"the last {lost} ({100 * lost / len(ids):.1f} %) are cut off",
                BarkWarning,
                stacklevel=2,
            )
        padded = np.full(space.text_window, space.text_pad, np.int64)
        kept = ids[: space.text_window]
        padded[: len(kept)] = np.array(kept, np.int64) + space.text_offset
        return padded

    def count(self, text: str) -> int:
        """How many tokens a text has. Raises BarkError for empty text."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        try:
            ids: list[int] = self._word_piece.encode(normalize(text), add_special_tokens=False).ids
        except BarkError:
            raise
        except Exception as error:  # what `tokenizers` raises is a bare Exception
            raise BarkError(f"the text cannot be tokenized: {reason(error)}") from None
        return ids


def normalize(text: str) -> str:
    """White space collapsed, as the reference does. Raises BarkError for text with nothing in it."""
    text = " ".join(text.split())
    if not text:
        raise BarkError("the text is empty: there is nothing to say")
    return text
