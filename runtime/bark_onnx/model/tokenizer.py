"""Turn text into ids with BERT WordPiece, as the bundle's `tokenizer.json` describes it.

A text that the vocabulary has gets the ids of the reference. Words that become [UNK] are first written in another form
(`unknown_words`). Those that remain unknown are [UNK] as in the reference, and a warning names them.
"""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding
from tokenizers import Tokenizer as WordPiece

from ..errors import BundleError, TextError, one_line, reason, warn
from .scripts import scripts
from .unknown_words import UnknownWords, named
from .vocabulary import Vocabulary

NOTE = "♪"
MARKS = f"[{NOTE}"  # Bark's own marks, such as [laughs], and songs begin with these
NOTHING = "there is nothing to say: the text has no letter, no digit, no [mark] and no ♪"
LONGEST_WORD = 100  # BERT's `max_input_chars_per_word`
LISTED_SCRIPTS = 4  # in a warning


@dataclass(frozen=True)
class Reading:
    """A text as the model reads it.

    Args:
        ids: of the tokenizer, without offset and padding.
        lost: words and symbols that the vocabulary lacks, as they are written. The model does not say them.
        says_something: whether anything remains to be said without them (`says_something`).
    """

    ids: list[int]
    lost: list[str]
    says_something: bool


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
        model = self._word_piece.model  # may be another one than WordPiece, and have no [UNK]
        self._unknown_token: str = getattr(model, "unk_token", None) or ""
        self._unknown = self._word_piece.token_to_id(self._unknown_token)
        longest = getattr(model, "max_input_chars_per_word", LONGEST_WORD)
        self._unknown_words = UnknownWords(partial(_knows, self._word_piece, self._unknown), max(1, longest))

    def encode(self, text: str, *, warns: bool = True) -> NDArray[np.int64]:
        """Return the ids of a text in the semantic model's vocabulary, padded: [text_window]. No special tokens.

        A text that is too long is cut, with a warning that says how much is lost. A warning names words that the
        vocabulary lacks, unless `warns` is False. Raises TextError for a text that says nothing, in itself or because
        the vocabulary lacks all of its words, or that is not a valid string.
        """
        require_something_to_say(text)
        reading, window = self.read(text), self._vocabulary.text_window
        ids = reading.ids
        remains = reading.says_something and (not reading.lost or len(ids) <= window or self._says(ids[:window]))
        self.report(reading.lost, says_something=remains, warns=warns)
        if len(ids) > window:
            lost = len(ids) - window
            warn(
                f"the text has {len(ids)} tokens and the model reads {window}: "
                f"the last {lost} ({100 * lost / len(ids):.1f} %) are cut off; "
                "this is one utterance; for all of it, use generate, stream or say without single"
            )
        padded = np.full(window, self._vocabulary.text_pad, np.int64)
        kept = ids[:window]
        padded[: len(kept)] = np.array(kept, np.int64) + self._vocabulary.text_offset
        return padded

    def count(self, text: str) -> int:
        """Return how many tokens a text has, also if it says nothing. Raises TextError for an invalid string."""
        return len(self.read(text).ids)

    def read(self, text: str) -> Reading:
        """Tokenize a text of any length. Raises TextError for an invalid string."""
        text = " ".join(text.split())  # the reference collapses white space before it tokenizes
        ids, unknown = self._word_ids(text)
        if not unknown:
            return Reading(ids, [], says_something(text))
        # A word is a unit to the tokenizer, so the words beside it keep their ids when spaces are put around it.
        text = " ".join(
            self._unknown_words.rewrite(part) if is_unknown else part for part, is_unknown in _divided(text, unknown)
        )
        ids, unknown = self._word_ids(text)
        known: list[str] = []
        lost: list[str] = []
        for part, is_unknown in _divided(text, unknown):
            (lost if is_unknown else known).append(part)
        lost = [part for part in dict.fromkeys(lost) if any(map(_is_spoken, part))]
        rest = "".join(known)
        return Reading(ids, lost, _says_words(rest) if lost else says_something(rest))

    def report(self, lost: Collection[str], *, says_something: bool, warns: bool = True) -> None:
        """Warn about the words that a text loses.

        Args:
            lost: these words.
            says_something: whether anything remains to be said without them.
            warns: False only checks that.

        Raises TextError if nothing remains to be said.
        """
        if not says_something:
            if not lost:
                raise TextError(NOTHING)
            raise TextError(
                "there is nothing to say: the model's vocabulary lacks all words of the text: "
                f"{named(lost)}{self._scripts_for(lost)}"
            )
        if lost and warns:
            them = "it" if len(lost) == 1 else "them"
            warn(
                one_line(f"not spoken, as the model's vocabulary lacks {them}: {named(lost)}{self._scripts_for(lost)}")
            )

    def _scripts_for(self, lost: Collection[str]) -> str:
        """What a message about lost words says about scripts; nothing if only symbols are lost."""
        if not any(map(str.isalpha, "".join(lost))):
            return ""
        more = len(self.scripts) - LISTED_SCRIPTS
        return (
            f" (it covers {', '.join(self.scripts[:LISTED_SCRIPTS]) or 'no script'}{f' and {more} more' * (more > 0)})"
        )

    @cached_property
    def scripts(self) -> tuple[str, ...]:
        """The scripts that the vocabulary covers, such as Latin; the one with most letters first."""
        return scripts(self._word_piece.get_vocab())

    def _says(self, ids: Sequence[int]) -> bool:
        """Whether tokens say something beside [UNK]."""
        return any(_says_words(self._word_piece.id_to_token(number) or "") for number in ids if number != self._unknown)

    def _word_ids(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text, and where the words are that became [UNK]: first character and end of each.

        The text may also have the token [UNK] itself, as it may have [MASK]. That is not a word.
        """
        encoding = _encoded(self._word_piece, text)
        ids: list[int] = encoding.ids
        if self._unknown is None or self._unknown not in ids:
            return ids, []
        spans = [offsets for token, offsets in zip(ids, encoding.offsets, strict=True) if token == self._unknown]
        return ids, [(start, end) for start, end in spans if text[start:end] != self._unknown_token]


def _says_words(text: str) -> bool:
    """Whether a text has a letter, a digit or a song. A bracket is not a mark if the word in it is lost."""
    return any(character.isalnum() or character == NOTE for character in text)


def _is_spoken(character: str) -> bool:
    """Whether a character is a letter, a digit or a symbol. Nobody misses punctuation that the vocabulary lacks."""
    return unicodedata.category(character)[0] in "LNS"


def _encoded(word_piece: WordPiece, text: str) -> Encoding:
    try:
        return word_piece.encode(text, add_special_tokens=False)
    except Exception as error:  # `tokenizers` raises bare Exceptions
        raise TextError(f"the text cannot be tokenized: {reason(error)}") from None


def _knows(word_piece: WordPiece, unknown: int | None, text: str) -> bool:
    """Whether a text has tokens, and none of them is [UNK]."""
    ids = _encoded(word_piece, text).ids
    return bool(ids) and unknown not in ids


def _divided(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """Divide a text at some spans, which are in order. Yields each part, and whether it is one of the spans."""
    end = 0
    for start, stop in spans:
        yield text[end:start], False
        yield text[start:stop], True
        end = stop
    yield text[end:], False


def says_something(text: str) -> bool:
    """Whether a text has something to say: a letter, a digit, or one of Bark's marks (`[` or `♪`).

    Bark invents speech for other texts, such as a line of asterisks, an emoji, or a zero-width space.
    """
    return any(character.isalnum() or character in MARKS for character in text)


def require_something_to_say(text: object) -> None:
    """Raise TextError unless a text is a string that says something."""
    if not isinstance(text, str):
        raise TextError(f"the text must be a string, not {type(text).__name__}")
    if not text.strip():
        raise TextError("the text is empty: there is nothing to say")
    if not says_something(text):
        raise TextError(NOTHING)
