"""Words that a vocabulary lacks: they are written in another form that it has, if there is one.

WordPiece turns a whole word into [UNK] if one character of it is unknown, and the model does not say that word. Only
such words are changed here, so all other text keeps the ids of the reference. The forms, in the order in which they are
tried:

1. the word in parts of at most 100 characters, since WordPiece gives up on a longer word (BERT's
   `max_input_chars_per_word`);
2. its compatibility form (Unicode's NFKC): ligatures, full-width letters, superscripts, fractions;
3. the same with plain quotes, dashes and slashes;
4. the same without the accents on its letters;
5. the word without symbols that the vocabulary lacks: "5" of "£5", "Hello" of "Hello😀".
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from itertools import groupby

PLAIN = str.maketrans(
    {
        "⁄": "/",
        "∕": "/",
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟«»‹›″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)
LISTED = 5  # words in a warning
LONGEST = 30  # characters of a word in a warning

_ACCENTS = re.compile("[\u0300-\u036f\u20d0-\u20f0\ufe00-\ufe0f]+")
_REMEMBERED = 1 << 14  # words; a long text repeats most of them
_JOINED = ("<wide>", "<narrow>", "<font>")  # characters that stand for one digit of a number, such as a full-width 5


class UnknownWords:
    """Finds another form of words that a vocabulary lacks.

    Args:
        knows: whether the vocabulary has a text, which may have several words.
        longest: characters of the longest word that the tokenizer can know.
    """

    def __init__(self, knows: Callable[[str], bool], longest: int) -> None:
        self._knows = knows
        self._longest = longest
        self._rewritten: dict[str, str] = {}

    def rewrite(self, word: str) -> str:
        """Return a word in a form that the vocabulary has, as far as there is one.

        The result may have several words. What the vocabulary lacks in every form is in it as it was.
        """
        known = self._rewritten.get(word)
        if known is None:
            if len(self._rewritten) >= _REMEMBERED:
                self._rewritten.clear()
            known = self._rewritten[word] = self._rewrite(word)
        return known

    def _rewrite(self, word: str) -> str:
        if len(word) > self._longest:
            return " ".join(map(self._rewrite, _parts(word, self._longest)))
        known = self._known_form(word)
        if known is not None:
            return known
        pieces = list(_pieces(word))
        parts: list[str] = []  # known forms, and between them what is unknown
        unknown = ""
        for piece in pieces if len(pieces) > 1 else []:
            form = self._known_form(piece)
            if form is None:
                unknown += piece
                continue
            parts += [unknown, form] if unknown else [form]
            unknown = ""
        return " ".join([*parts, unknown]) if parts else word

    def _known_form(self, word: str) -> str | None:
        """Return the first form of a word that the vocabulary has; None if it has none of them."""
        for form in dict.fromkeys(_forms(word)):
            divided = " ".join(part for piece in form.split() for part in _parts(piece, self._longest))
            if self._knows(divided):
                return divided
        return None


def _pieces(word: str) -> Iterator[str]:
    """Divide a word into runs of letters and digits with their accents, and single other characters."""
    for is_word, run in groupby(word, key=lambda character: unicodedata.category(character)[0] in "LMN"):
        characters = "".join(run)
        yield from [characters] if is_word else characters


def _forms(word: str) -> Iterator[str]:
    yield word
    compatible = _compatible(word)
    yield compatible
    plain = compatible.translate(PLAIN)
    yield plain
    yield unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", plain)))


def _compatible(word: str) -> str:
    """Return the NFKC form of a word. Digits that are one character (½, ², ①) stay apart from digits beside them."""
    spaced = "".join(f" {character} " if _is_number(character) else character for character in word)
    return unicodedata.normalize("NFKC", spaced)


def _is_number(character: str) -> bool:
    decomposition = unicodedata.decomposition(character)
    if not decomposition.startswith("<") or decomposition.startswith(_JOINED):
        return False
    return any(form.isdigit() for form in unicodedata.normalize("NFKC", character))


def _parts(word: str, longest: int) -> Iterator[str]:
    """Divide a word into parts of at most `longest` characters, if possible not before an accent or a vowel sign."""
    start = 0
    while len(word) - start > longest:
        end = start + longest
        while end > start + longest // 2 and unicodedata.category(word[end])[0] == "M":
            end -= 1
        yield word[start:end]
        start = end
    yield word[start:]


def named(words: Collection[str]) -> str:
    """List a few words for a person to read, and say how many more there are."""
    first = list(words)[:LISTED]
    shown = ", ".join(word if len(word) <= LONGEST else f"{word[:LONGEST]}…" for word in first)
    return shown + (f" and {len(words) - LISTED:,} more" if len(words) > LISTED else "")
