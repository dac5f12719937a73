"""What is rewritten: one pattern for each kind of writing, and the words that it becomes.

The patterns of a language are tried in their order at each place, from left to right, and what they become is not
looked at again. All of them are bounded or possessive, so that the time grows with the length of a text and not faster.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import emojis, english_rules, web
from .language import Language
from .own_rules import own_rules
from .phones import phones
from .sayings import Sayings
from .signs import CURRENCIES, HALVES, Written

_YEAR = {"ru": r"(?:\sг\.|\sгода(?!\w))?", "pl": r"(?:\sr\.|\sroku(?!\w))?"}  # the word after the year of a date
_WITHOUT_SPACES = ("ja", "ko", "zh")  # what is written there may stand between letters
_AFTER_DATES = "年月日号時时点分년월일분"  # before a dash that is no minus
_SPACES = "\u00a0\u202f\u2009"  # that do not break, and stand between groups in every language


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
    within_words = language.code in _WITHOUT_SPACES
    return [
        Rule(re.compile(_between_letters(pattern) if within_words else pattern), become)
        for pattern, become in _patterns(language, say)
    ]


def _between_letters(pattern: str) -> str:
    """A pattern in which only Latin letters belong to a word: 50%的人 and 5kg을 have no space after the sign."""
    for written, latin in (
        ("[^\\W\\d]", "[A-Za-z_]"),
        ("[\\w", "[A-Za-z_\\d"),
        ("\\w", "[A-Za-z_\\d]"),
        ("\\b", "(?a:\\b)"),
    ):
        pattern = pattern.replace(written, latin)
    return pattern


def _number(language: Language) -> str:
    """A pattern for numbers."""
    if language.code == "hi":  # 12,34,567
        return r"(?:\d{1,3}(?:,\d{2,3}){1,9}(?!\d|,\d)|\d++)(?:\.\d++)?"
    group = rf"[{re.escape(language.groups + _SPACES)}]\d{{3}}"
    return rf"(?:\d{{1,3}}(?:{group})++(?!\d)|\d++)(?:{re.escape(language.decimal)}\d++)?"


def _patterns(language: Language, say: Sayings) -> list[Written]:
    number = _number(language)
    units = _alternatives(language.units)
    with_unit = rf"(?:\s?(?P<unit>{units})(?![\w'’]))?"
    short = _alternatives(language.abbreviations)
    before = _alternatives(language.before_number)
    months = _alternatives({} if language.code in ("ja", "ko", "zh") else language.months)
    scales = _alternatives(language.scales)
    short_scales = _alternatives(
        sign for sign, word in language.scales.items() if len(sign) > 2 and not word.startswith(sign)
    )
    currencies = _alternatives(CURRENCIES)
    dash = "[-–—〜～~]" if language.code in _WITHOUT_SPACES else "[-–—]"
    range_to = rf"(?:%?\s?{dash}\s?(?P<last>(?!0\d){number}(?!\s?[=×÷*]|\.\d)))?"  # 5 - 3 = 2 is no range
    before_sign = rf"(?<![\w)\].,%°^{_AFTER_DATES}])"
    to = language.words["to"]
    inner = _alternatives(short for short in language.abbreviations if re.search(r"\.\w", short))
    short_date = r"(?<![\d.])(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d\d)(?![\d.])"
    if language.decimal == ".":
        short_date = "(?!)"
    of_english = language.code == "en"
    dotted = r"\d++(?:\.\d++){2"
    if language.decimal == ",":
        dotted = r"(?!\d{1,3}(?:\.\d{3})++(?![\d.]))\d++(?:\.\d++){1"  # not 1.000, which is a thousand
    return [
        (rf"(?<![\w.])(?P<short>{inner})(?!\w)", say.abbreviation),
        (emojis.KEY, say.emoji),
        (web.EMAIL, say.web),
        (web.ADDRESS, say.web),
        (web.FILE, say.web),
        *(english_rules.before_others(language, say, months) if of_english else own_rules(language, say, number)),
        (r"(?<![\d-])(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?:(?![\d-])(?:T(?=\d\d:))?)", say.date),
        (r"(?<![\d/])(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})(?![\d/])", say.date),
        (r"(?<![\w-])(?P<first>\d{1,2})-(?P<second>\d{1,2})-(?P<year>\d{4})(?![\w-])", say.date),
        (r"(?<![\d/])(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year>\d{4}|\d{2})(?![\d/])", say.date),
        (r"(?<![\d.])(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?!\d)", say.date),
        (short_date, say.date),
        (
            rf"(?<![\d.,])(?P<day>\d{{1,2}})(?:\.|er|º|st|nd|rd|th)?[\s-](?:de\s|of\s)?(?P<name>{months})\b\.?"
            rf"(?:,?[\s-](?:de\s)?(?P<year>\d{{4}})(?![\d,.]\d){_YEAR.get(language.code, '')})?",
            say.date,
        ),
        (rf"(?<=:\d\d)\s?{dash}\s?(?=\d)", lambda _: to),  # 9:00-17:00
        (
            r"(?<![\d:])(?P<hour>[01]?\d|2[0-3])[:：](?P<minute>[0-5]\d)(?:[:：](?P<second>[0-5]\d))?(?![\d:])"
            r"(?:\s?(?P<half>[aApP])(?:\.[mM]\b\.?|[mM]\b))?(?:\s?(?:Uhr|h)\b)?",
            say.time,
        ),
        (r"(?:(?<=\d)|(?<=\d[kKMBTm])|(?<=\d[bm]n)|(?<=illion))(?:-|\s?[–—]\s?)(?=[UCA]?S?[$€£¥₹]\s?\d)", lambda _: to),
        (
            rf"(?<![^\W\d])(?P<sign>[-−])?(?P<currency>{currencies})\s?(?P<minus>[-−])?"
            rf"(?P<number>{number}|{re.escape(language.decimal)}\d++)(?:{dash}(?P<last>{number}))?"
            rf"(?:\s?(?P<scale>{scales})(?!\w))?",
            say.money,
        ),
        (
            rf"(?<![\w.,])(?P<sign>[-−])?(?P<number>{number}){range_to}(?:\s?(?P<scale>{scales})(?!\w))?"
            rf"\s?(?P<currency>{currencies})(?!\w)",
            say.money,
        ),
        *phones(say),
        (
            r"(?<![\w.])[vV]\.?\d++(?:\.\d++){0,30}(?!\w)"
            rf"|(?<![\w.,]){dotted},30}}",
            say.dotted,
        ),
        (rf"(?<![\w.,/])(?:(?P<whole>\d{{1,3}})[ \u2009]?)?(?P<half>[{''.join(HALVES)}]){with_unit}", say.half),
        (
            r"(?<![\w.,/-])(?:(?P<whole>\d{1,3}) )?(?P<over>\d{1,3})[/⁄](?P<under>\d{1,3})(?![\d/]|\.\d)"
            rf"(?:{with_unit}(?!\w))",
            say.fraction,
        ),
        (rf"(?<![\w.,])(?P<number>{number})\s?(?P<scale>{short_scales})(?!\w)", say.scaled),
        *(english_rules.among_others(say, months) if of_english else []),
        (r"(?<![\w.,:])(?P<number>\d{1,3}):(?P<last>\d{1,3}(?::\d{1,3}){0,3})(?![\w:])", say.score),
        (r"(?<![\w.…])\.(?P<fraction>\d++)(?![.]?\w)" if language.decimal == "." else "(?!)", say.point),
        (
            rf"{before_sign}(?<![A-Za-z]-)(?P<sign>[-−+±~≈])?(?P<number>{number}){range_to}\s?(?P<unit>{units}|[%‰％])(?![\w'’])",
            say.quantity,
        ),
        (rf"(?:{before_sign}(?P<sign>[-−+±~≈]|#\s?))?(?P<number>{number}){range_to}(?P<unit>)", say.quantity),
        (rf"(?<![\w.])(?P<short>{before})\s?(?=\d)", say.before_number),
        (rf"(?<![\w.])(?P<short>{short})(?!\w)", say.abbreviation),
        (rf"(?:{emojis.EMOJI})(?:\s?(?:{emojis.EMOJI})){{0,20}}+", say.emoji),
        (r"(?<=\d)\s?x\s?(?=\d)", lambda _: language.words.get("by", language.words["times"])),
        (r"(?<=\d)\s?[×*]\s?(?=\d)|(?<=\s)[×*](?=\s)", lambda _: language.words["times"]),
        (r"(?<=\d)\s[-−–]\s(?=\d[\d.,]{0,15}\s?[=×÷*])", lambda _: language.words["minus"]),
        (r"(?<=\d)\s/\s(?=\d)", lambda _: language.words["divided"]),
        (r"\+/-|(?<=[\d%])\+(?![\w+-])|(?<=\d)\+(?=\d)|[~≈+](?=[$€£]\d)", say.sign),
        (r"(?<![-=<>\"'/])[<>](?=[$€£]?\.?\d)(?!.[\d.,$€£%]{1,20}</)", say.sign),
        (r"(?<=\s)[+<>@](?=\s)|(?<![=<>!:+-])=(?![=>])|&amp;|[÷±§&＆№]", say.sign),
    ]  # fmt: skip


def _alternatives(words: Iterable[str]) -> str:
    """A pattern for any of some words, the longest first; without words, one that matches nothing."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)"
