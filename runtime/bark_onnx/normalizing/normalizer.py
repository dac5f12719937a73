"""A text as a person would read it out: "$3.50" becomes "three dollars and fifty cents".

A `Normalizer` is for one language. `rules` has what is rewritten, `language` the words. Bark's tags, such as [laughs],
and ♪ stay as they are, and so does every text in which there is nothing to rewrite.
"""

import re
from collections.abc import Callable
from functools import cache, cached_property

from ..splitting.passages import sentence_ends
from ..splitting.punctuation import MARK
from . import english_rules
from .english import English
from .language import LANGUAGES, Language, read_table
from .libraries import require
from .marks import unmarked
from .rules import Rule, rules

_NAMED = re.compile(r"\(\?P<\w+>")
# Writing that some rule may be for, besides the abbreviations of the tables. It is quick to look for. "Dr." and "St."
# have two meanings in English each, so they have rules instead of an entry in the table.
_WRITING = r"\d|[^\w\s.,;:!?'\"…()–—-]|[½⅓⅔¼¾⅛⅜⅝⅞]|\w\.\w|\b(?:Dr|St)\."


class Normalizer:
    """Rewrites texts in one language. Make one with `normalizer`.

    Args:
        language: its words.
    """

    def __init__(self, language: Language) -> None:
        self.code = language.code
        self._language = language
        short = [*language.abbreviations, *language.before_number]
        own = [english_rules.WRITING] if self.code == "en" else []
        self._writing = re.compile("|".join([_WRITING, *own, *map(re.escape, short)]))

    @cached_property
    def _rules(self) -> list[Rule]:
        """They are made, and the libraries imported, for the first text that needs them."""
        return [Rule(re.compile(MARK), re.Match.group), *rules(self._language)]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        """Where some rule may hold: group n is the pattern of the rule n - 1."""
        patterns = (_NAMED.sub("(?:", rule.pattern.pattern) for rule in self._rules)
        return re.compile("|".join(f"({pattern})" for pattern in patterns))

    def __call__(self, text: str) -> str:
        """A whole text in words, without marks of Markdown."""
        return self.words(unmarked(text))

    def words(self, text: str) -> str:
        """Sentences in words. Marks of Markdown are not looked for."""
        if not self._writing.search(text):
            return text
        found_ends = sentence_ends(text, 0, len(text))
        starts, ends = {0, *found_ends}, {_without_space(text, end) for end in found_ends}
        out: list[str] = []
        at = 0
        while found := self._any.search(text, at):
            start = found.start()
            out.append(text[at:start])
            words, at = self._say(text, start, self._rules[(found.lastindex or 1) - 1 :])
            if words is None:
                out.append(text[start:at])
                continue
            if text[at - 1] == "." and at in ends and not words.endswith("."):
                words += "."  # of an abbreviation, at the end of a sentence
            words = words.strip()
            if start in starts:
                words = self._capital(words)
            before, after = next((part[-1] for part in reversed(out) if part), ""), text[at : at + 1]
            if self._language.spaced and words:
                words = " " * (before.isalnum() and words[0].isalnum()) + words
                words += " " * (words[-1].isalnum() and after.isalnum())
            out.append(words)
        return "".join([*out, text[at:]])

    def _capital(self, words: str) -> str:
        """Words with a capital, as they begin a sentence: texts are split at capitals."""
        first = words[:1]
        return ("İ" if self.code == "tr" and first == "i" else first.upper()) + words[1:]

    @staticmethod
    def _say(text: str, start: int, tried: list[Rule]) -> tuple[str | None, int]:
        """What is written at a place in words, and where it ends; None if no rule is for it."""
        for rule in tried:
            match = rule.pattern.match(text, start)
            if match and match.end() > start and (words := rule.say(match)) is not None:
                return words, match.end()
        return None, start + 1


def _without_space(text: str, end: int) -> int:
    """Where the last character other than white space before `end` ends."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


@cache
def normalizer(code: str) -> Normalizer:
    """The normalizer of a language.

    Raises BarkError if the extra `text` is not installed.
    """
    assert code in LANGUAGES
    require(f"normalize={code!r}")
    make: Callable[..., Language] = English if code == "en" else Language
    return Normalizer(make(code, **read_table(code)))
