"""What is rewritten: one pattern for each kind of writing, and the words that it becomes.

The patterns of a language are tried in their order at each place, from left to right, and what they become is not
looked at again. All of them are bounded or possessive, so that the time grows with the length of a text and not faster.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from . import emojis, web
from .language import Language
from .sayings import Sayings
from .signs import CURRENCIES, HALVES

_SPACES = "\u00a0\u202f\u2009"  # that do not break, and stand between groups in every language

Written: TypeAlias = tuple[str, Callable[[re.Match[str]], str | None]]
"""A pattern, and what returns the words of a match; None if it is something else."""


@dataclass(frozen=True, eq=False)
class Rule:
    """One kind of writing.

    Args:
        pattern: what it looks like.
        say: its words; None if it is something else.
    """

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]


def rules(language: Language) -> list[Rule]:
    """The rules of a language, in the order in which they are tried."""
    say = Sayings(language, language.groups + _SPACES)
    return [Rule(re.compile(pattern), become) for pattern, become in _patterns(language, say)]


def _number(language: Language) -> str:
    """A pattern for numbers."""
    if language.code == "hi":  # 12,34,567
        return r"(?:\d{1,3}(?:,\d{2,3}){1,9}(?!\d|,\d)|\d++)(?:\.\d++)?"
    group = rf"[{re.escape(language.groups + _SPACES)}]\d{{3}}"
    return rf"(?:\d{{1,3}}(?:{group})++(?!\d)|\d++)(?:{re.escape(language.decimal)}\d++)?"


def _patterns(language: Language, say: Sayings) -> list[Written]:
    number = _number(language)
    short = _alternatives(language.abbreviations)
    before = _alternatives(language.before_number)
    months = _alternatives({} if language.code in ("ja", "ko", "zh") else language.months)
    scales = _alternatives(language.scales)
    short_scales = _alternatives(
        sign for sign, word in language.scales.items() if len(sign) > 2 and not word.startswith(sign)
    )
    currencies = _alternatives(CURRENCIES)
    range_to = rf"(?:%?\s?[-–—]\s?(?P<last>{number}))?"
    dash = "[-–—]"
    dotted = r"\d++(?:\.\d++){2"
    if language.decimal == ",":
        dotted = r"(?!\d{1,3}(?:\.\d{3})++(?![\d.]))\d++(?:\.\d++){1"  # not 1.000, which is a thousand
    return [
        (web.EMAIL, say.web),
        (web.ADDRESS, say.web),
        (r"(?<![\d-])(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?![\d-])", say.date),
        (r"(?<![\d/])(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year>\d{4}|\d{2})(?![\d/])", say.date),
        (r"(?<![\d.])(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?!\d)", say.date),
        (
            rf"(?<![\d.,])(?P<day>\d{{1,2}})(?:\.|er|º|st|nd|rd|th)?\s(?:de\s|of\s)?(?P<name>{months})\b\.?"
            rf"(?:,?\s(?:de\s)?(?P<year>\d{{4}})(?![\d,.]\d))?",
            say.date,
        ),
        (
            r"(?<![\d:])(?P<hour>[01]?\d|2[0-3])[:：](?P<minute>[0-5]\d)(?:[:：](?P<second>[0-5]\d))?(?![\d:])"
            r"(?:\s?(?P<half>[aApP])(?:\.[mM]\b\.?|[mM]\b))?(?:\s?(?:Uhr|h)\b)?",
            say.time,
        ),
        (
            rf"(?<![^\W\d])(?P<sign>[-−])?(?P<currency>{currencies})\s?(?P<number>{number})(?:{dash}(?P<last>{number}))?"
            rf"(?:\s?(?P<scale>{scales})(?!\w))?",
            say.money,
        ),
        (
            rf"(?<![\w.,])(?P<sign>[-−])?(?P<number>{number}){range_to}(?:\s?(?P<scale>{scales})(?!\w))?"
            rf"\s?(?P<currency>{currencies})(?!\w)",
            say.money,
        ),
        (r"(?<![\w.+-])\+\d[\d ().-]{5,20}\d(?!\w)", say.phone),
        (r"(?<![\w.+-])\d++(?:-\d++){2,10}(?![\w-])", say.phone),
        (
            r"(?<![\w.])[vV]\.?\s?\d++(?:\.\d++){0,30}(?!\w)"
            rf"|(?<![\w.,]){dotted},30}}",
            say.dotted,
        ),
        (rf"(?<![\w.,/])(?:(?P<whole>\d{{1,3}})[ \u2009]?)?(?P<half>[{''.join(HALVES)}])", say.half),
        (
            r"(?<![\w.,/-])(?:(?P<whole>\d{1,3}) )?(?P<over>\d{1,3})[/⁄](?P<under>\d{1,3})(?![\w/]|\.\d)",
            say.fraction,
        ),
        (rf"(?<![\w.,])(?P<number>{number})\s?(?P<scale>{short_scales})(?!\w)", say.scaled),
        *_of_language(language, say, months),
        (r"(?<![\w.…])\.(?P<fraction>\d++)(?![.]?\w)" if language.decimal == "." else "(?!)", say.point),
        (
            rf"(?<![\w)\].,%°])(?P<sign>[-−+±~≈])?(?P<number>{number}){range_to}\s?(?P<unit>{_alternatives(language.units)}|[%‰％])(?![\w'’])",
            say.quantity,
        ),
        (rf"(?:(?<![\w)\].,%°])(?P<sign>[-−+±~≈]|#\s?))?(?P<number>{number}){range_to}(?P<unit>)", say.quantity),
        (rf"(?<![\w.])(?P<short>{before})\s?(?=\d)", say.before_number),
        (rf"(?<![\w.])(?P<short>{short})(?!\w)", say.abbreviation),
        (rf"(?:{emojis.EMOJI})(?:\s?(?:{emojis.EMOJI})){{0,20}}+", say.emoji),
        (r"(?<=\d)\s?x\s?(?=\d)", lambda _: language.words.get("by", language.words["times"])),
        (r"(?<=\d)\s?[×*]\s?(?=\d)|(?<=\s)[×*](?=\s)", lambda _: language.words["times"]),
        (r"(?<=\s)[+<>@](?=\s)|(?<![=<>!:+-])=(?![=>])|[÷±§&＆№]", say.sign),
    ]  # fmt: skip


def _of_language(language: Language, say: Sayings, months: str) -> list[Written]:
    """Rules that only one language, or some, have."""
    code = language.code
    if code == "en":
        return [
            (
                rf"\b(?P<name>{months})\b\.?\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:]|[,.]\d)"
                rf"(?:,?\s(?P<year>\d{{4}})(?![\d,.]\d))?",
                say.date,
            ),
            (r"(?<![\w.,])(?P<number>\d{1,9})(?:st|nd|rd|th)\b", say.ordinal),
            (r"(?<![\w.,])['’]?(?P<number>\d{1,3}0|\d0)['’]?s\b", say.decade),
            (r"(?<![\w.:,])(?P<hour>\d{1,2})\s?(?P<half>[aApP])(?:\.[mM]\b\.?|[mM]\b)", say.time),
            (r"(?<![\w.,])(?P<number>\d{1,4}(?:\.\d{1,3})?)(?P<scale>[kMB])(?![\w'])", say.scaled),
            (r"(?<![\w.+-])(?:\(\d{3}\)\s?|(?:1-)?\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])", say.phone),
            (r"(?<![\w.+-])[2-9]\d\d-\d{4}(?<!00)(?![\w-])", say.phone),
            (r"(?<![\w.,])(?P<feet>\d)['′](?P<inches>\d\d?)[\"″]", say.height),
            (r"(?<![\w.,:])(?P<number>\d{1,3}):(?P<last>\d{1,3})(?![\w:])", say.score),
            (r"\bSt\.(?=\s[A-Z])", lambda _: "Saint"),
            (r"(?<=[a-z] )St\.", lambda _: "Street"),
            (r"\bDr\.(?=\s[A-Z])", lambda _: "Doctor"),
            (r"(?<=[a-z] )Dr\.", lambda _: "Drive"),
        ]
    if code in ("es", "it"):
        return [(r"(?<![\w.,])(?P<number>\d{1,6})\.?[ºª](?!\w)", say.ordinal)]
    if code in ("fr", "pt"):
        hours = (r"(?<![\w.:,])(?P<hour>[01]?\d|2[0-3])\s?h\s?(?P<minute>[0-5]\d)?(?!\w)", say.time)
    if code == "pt":
        return [hours, (r"(?<![\w.,])(?P<number>\d{1,6})\.?[ºª](?!\w)", say.ordinal)]
    if code == "fr":
        return [hours, (r"(?<![\w.,])(?P<number>\d{1,6})(?:er|re|ère|e|ème|ième)(?!\w)", say.ordinal)]
    if code == "ru":
        return [(r"(?<![\w.,])(?P<number>\d{1,6})-(?:й|ый|ой|ий)(?!\w)", say.ordinal)]
    if code == "zh":
        return [(r"(?<!\d)(?P<number>\d{4})(?=年)", lambda match: language.year(match["number"]))]
    if code == "tr":
        return [
            (rf"%\s?(?P<number>{_number(language)})", say.percent),
            (r"(?<![\w.,])(?P<number>\d{1,6})['’]?n?(?:[iıuü]nc|c)[iıuü](?!\w)", say.ordinal),
        ]
    if code == "de":
        return [(r"(?<![\w.,])(?P<number>\d{1,3})\.(?=\s(?:Jahrhundert|Weltkrieg|Platz|Stock|Kapitel))", say.ordinal)]
    return []


def _alternatives(words: Iterable[str]) -> str:
    """A pattern for any of some words, the longest first; without words, one that matches nothing."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)"
