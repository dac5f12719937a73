"""Which scripts a vocabulary covers, such as Latin, Han or Cyrillic."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

LEAST_LETTERS = 20  # of a script that counts as covered; fewer are single symbols, such as the π of formulas

# The script is the beginning of a letter's name in Unicode: LATIN SMALL LETTER A, HANGUL SYLLABLE GA.
_LETTER = re.compile(
    r"(?!MODIFIER |MATHEMATICAL |FULLWIDTH |HALFWIDTH |COMBINING |SUPERSCRIPT |SUBSCRIPT )"
    r"(?P<script>[A-Z -]+?)(?: CAPITAL| SMALL)? (?:LETTER|SYLLABLE|UNIFIED IDEOGRAPH)\b"
)
_NAMES = {"Cjk": "Han"}


def scripts(pieces: Iterable[str]) -> tuple[str, ...]:
    """Return the scripts of which these pieces have at least 20 different letters, the one with most letters first."""
    letters = {character for piece in pieces for character in piece if character.isalpha()}
    found = Counter(match["script"].title() for match in map(_named, letters) if match)
    covered = sorted((script for script in found if found[script] >= LEAST_LETTERS), key=lambda script: -found[script])
    return tuple(_NAMES.get(script, script) for script in covered)


def main_script(text: str) -> str:
    """Return the script of most letters of a text; an empty string for a text without letters."""
    found = Counter(match["script"].title() for match in map(_named, filter(str.isalpha, text)) if match)
    script = max(found, key=lambda name: found[name], default="")
    return _NAMES.get(script, script)


def _named(letter: str) -> re.Match[str] | None:
    return _LETTER.match(unicodedata.name(letter, ""))
