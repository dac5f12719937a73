"""What is rewritten: one pattern for each kind of writing, and the words that it becomes.

The patterns of a language are tried in their order at each place, from left to right, and what they become is not
looked at again. All of them are bounded or possessive, so that the time grows with the length of a text and not faster.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from . import emojis, web
from .english import English
from .language import Language, Number
from .signs import BEFORE, CURRENCIES, HALVES, SIGNS, UNITS

_LENGTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

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
    found = _Rules(language)
    return [Rule(re.compile(pattern), say) for pattern, say in found.patterns()]


class _Rules:
    """The patterns of a language and what they become."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._groups = language.groups + "\u00a0\u202f\u2009"
        self._number = (
            rf"(?:\d{{1,3}}(?:[{re.escape(self._groups)}]\d{{3}})++(?!\d)|\d++)(?:{re.escape(language.decimal)}\d++)?"
        )
        if language.code == "hi":  # 12,34,567
            self._number = r"(?:\d{1,3}(?:,\d{2,3}){1,9}(?!\d|,\d)|\d++)(?:\.\d++)?"

    def patterns(self) -> list[Written]:
        language, number = self._language, self._number
        short = _alternatives(language.abbreviations)
        before = _alternatives(language.before_number)
        months = _alternatives({} if language.code in ("ja", "ko", "zh") else language.months)
        scales = _alternatives(language.scales)
        currencies = _alternatives(CURRENCIES)
        range_to = rf"(?:%?\s?[-–—]\s?(?P<last>{number}))?"
        dash = "[-–—]"
        dotted = r"\d++(?:\.\d++){2"
        if language.decimal == ",":
            dotted = r"(?!\d{1,3}(?:\.\d{3})++(?![\d.]))\d++(?:\.\d++){1"  # not 1.000, which is a thousand
        return [
            (web.EMAIL, self._web),
            (web.ADDRESS, self._web),
            (r"(?<![\d-])(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?![\d-])", self._date),
            (r"(?<![\d/])(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year>\d{4}|\d{2})(?![\d/])", self._date),
            (r"(?<![\d.])(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?!\d)", self._date),
            (
                rf"(?<![\d.,])(?P<day>\d{{1,2}})(?:\.|er|º|st|nd|rd|th)?\s(?:de\s|of\s)?(?P<name>{months})\b\.?"
                rf"(?:,?\s(?:de\s)?(?P<year>\d{{4}})(?![\d,.]\d))?",
                self._date,
            ),
            (
                r"(?<![\d:])(?P<hour>[01]?\d|2[0-3])[:：](?P<minute>[0-5]\d)(?:[:：](?P<second>[0-5]\d))?(?![\d:])"
                r"(?:\s?(?P<half>[aApP])(?:\.[mM]\b\.?|[mM]\b))?(?:\s?(?:Uhr|h)\b)?",
                self._time,
            ),
            (
                rf"(?<![^\W\d])(?P<sign>[-−])?(?P<currency>{currencies})\s?(?P<number>{number})(?:{dash}(?P<last>{number}))?"
                rf"(?:\s?(?P<scale>{scales})(?!\w))?",
                self._money,
            ),
            (
                rf"(?<![\w.,])(?P<sign>[-−])?(?P<number>{number}){range_to}(?:\s?(?P<scale>{scales})(?!\w))?"
                rf"\s?(?P<currency>{currencies})(?!\w)",
                self._money,
            ),
            (r"(?<![\w.+-])\+\d[\d ().-]{5,20}\d(?!\w)", self._phone),
            (r"(?<![\w.+-])\d++(?:-\d++){2,10}(?![\w-])", self._phone),
            (
                r"(?<![\w.])[vV]\.?\s?\d++(?:\.\d++){0,30}(?!\w)"
                rf"|(?<![\w.,]){dotted},30}}",
                self._dotted,
            ),
            (rf"(?<![\w.,/])(?:(?P<whole>\d{{1,3}})[ \u2009]?)?(?P<half>[{''.join(HALVES)}])", self._half),
            (
                r"(?<![\w.,/-])(?:(?P<whole>\d{1,3}) )?(?P<over>\d{1,3})[/⁄](?P<under>\d{1,3})(?![\w/]|\.\d)",
                self._fraction,
            ),
            *self._of_language(months),
            (r"(?<![\w.…])\.(?P<fraction>\d++)(?![.]?\w)" if language.decimal == "." else "(?!)", self._point),
            (
                rf"(?<![\w)\].,%°])(?P<sign>[-−+±~≈])?(?P<number>{number}){range_to}\s?(?P<unit>{_alternatives(UNITS)}|[%‰％])(?!\w)",
                self._quantity,
            ),
            (rf"(?:(?<![\w)\].,%°])(?P<sign>[-−+±~≈]|#\s?))?(?P<number>{number}){range_to}(?P<unit>)", self._quantity),
            (rf"(?<![\w.])(?P<short>{before})\s?(?=\d)", self._before_number),
            (rf"(?<![\w.])(?P<short>{short})(?!\w)", self._abbreviation),
            (rf"(?:{emojis.EMOJI})(?:\s?(?:{emojis.EMOJI})){{0,20}}+", self._emoji),
            (r"(?<=\d)\s?x\s?(?=\d)", lambda _: language.words.get("by", language.words["times"])),
            (r"(?<=\d)\s?[×*]\s?(?=\d)|(?<=\s)[×*](?=\s)", lambda _: language.words["times"]),
            (r"(?<=\s)[+<>@](?=\s)|(?<![=<>!:+-])=(?![=>])|[÷±§&＆№]", self._sign),
        ]  # fmt: skip

    def _of_language(self, months: str) -> list[Written]:
        """Rules that only one language, or some, have."""
        code = self._language.code
        if code == "en":
            return [
                (
                    rf"\b(?P<name>{months})\b\.?\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:]|[,.]\d)"
                    rf"(?:,?\s(?P<year>\d{{4}})(?![\d,.]\d))?",
                    self._date,
                ),
                (r"(?<![\w.,])(?P<number>\d{1,9})(?:st|nd|rd|th)\b", self._ordinal),
                (r"(?<![\w.,])['’]?(?P<number>\d{1,3}0|\d0)['’]?s\b", self._decade),
                (r"(?<![\w.:,])(?P<hour>\d{1,2})\s?(?P<half>[aApP])(?:\.[mM]\b\.?|[mM]\b)", self._time),
                (r"(?<![\w.,])(?P<number>\d{1,4}(?:\.\d{1,3})?)(?P<scale>[kMB])(?![\w'])", self._scaled),
                (r"(?<![\w.+-])(?:\(\d{3}\)\s?|(?:1-)?\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])", self._phone),
                (r"(?<![\w.+-])[2-9]\d\d-\d{4}(?<!00)(?![\w-])", self._phone),
                (r"(?<![\w.,])(?P<feet>\d)['′](?P<inches>\d\d?)[\"″]", self._height),
                (r"(?<![\w.,:])(?P<number>\d{1,3}):(?P<last>\d{1,3})(?![\w:])", self._score),
                (r"\bSt\.(?=\s[A-Z])", lambda _: "Saint"),
                (r"(?<=[a-z] )St\.", lambda _: "Street"),
                (r"\bDr\.(?=\s[A-Z])", lambda _: "Doctor"),
                (r"(?<=[a-z] )Dr\.", lambda _: "Drive"),
            ]
        if code in ("es", "it"):
            return [(r"(?<![\w.,])(?P<number>\d{1,6})\.?[ºª°](?![CF\w])", self._ordinal)]
        if code in ("fr", "pt"):
            hours = (r"(?<![\w.:,])(?P<hour>[01]?\d|2[0-3])\s?h\s?(?P<minute>[0-5]\d)?(?!\w)", self._time)
        if code == "pt":
            return [hours, (r"(?<![\w.,])(?P<number>\d{1,6})\.?[ºª](?!\w)", self._ordinal)]
        if code == "fr":
            return [hours, (r"(?<![\w.,])(?P<number>\d{1,6})(?:er|re|ère|e|ème|ième)(?!\w)", self._ordinal)]
        if code == "ru":
            return [(r"(?<![\w.,])(?P<number>\d{1,6})-(?:й|ый|ой|ий)(?!\w)", self._ordinal)]
        if code == "zh":
            return [(r"(?<!\d)(?P<number>\d{4})(?=年)", lambda match: self._language.year(match["number"]))]
        if code == "tr":
            return [
                (rf"%\s?(?P<number>{self._number})", self._percent),
                (r"(?<![\w.,])(?P<number>\d{1,6})['’]?n?(?:[iıuü]nc|c)[iıuü](?!\w)", self._ordinal),
            ]
        if code == "de":
            return [
                (r"(?<![\w.,])(?P<number>\d{1,3})\.(?=\s(?:Jahrhundert|Weltkrieg|Platz|Stock|Kapitel))", self._ordinal)
            ]
        return []

    # what they become

    def _web(self, match: re.Match[str]) -> str:
        written = match.group()
        address = written.rstrip(".,;:!?*_~")
        return web.spelled(address, self._language) + written[len(address) :]

    def _date(self, match: re.Match[str]) -> str | None:
        given = match.groupdict()
        if name := given.get("name"):
            month, day = self._language.months[name], int(given["day"])
        elif "first" in given:
            first, second = int(given["first"]), int(given["second"])
            month, day = (first, second) if self._language.month_first else (second, first)
            if month > 12:
                month, day = day, month
        else:
            month, day = int(given["month"]), int(given["day"])
        year = given["year"] or ""
        if len(year) == 2:
            year = ("20" if year < "70" else "19") + year
        if not 1 <= month <= 12 or not 1 <= day <= _LENGTHS[month]:
            return None
        before = match.string[max(0, match.start() - 8) : match.start()].split()
        return self._language.said_date(year.lstrip("0") or year[:1], month, day, before[-1] if before else "")

    def _time(self, match: re.Match[str]) -> str | None:
        given = match.groupdict()
        hour, half = int(given["hour"]), given.get("half") or ""
        if half and not 1 <= hour <= 12:
            return None
        second = given.get("second")
        seconds = None if second is None else int(second)
        return self._language.time(hour, int(given.get("minute") or 0), seconds, half and f"{half}m")

    def _money(self, match: re.Match[str]) -> str:
        given = match.groupdict()
        language = self._language
        currency = CURRENCIES[given["currency"]]
        if language.code == "zh" and given["currency"] in "¥￥":
            currency = "CNY"
        scale = language.scales.get(given["scale"] or "", "")
        said = language.amount(currency, self._read(given["last"] or given["number"]), scale)
        if given["last"]:
            said = language.join(language.number(self._read(given["number"])), language.words["to"], said)
        return language.join(language.words["minus"] if given["sign"] else "", said)

    def _phone(self, match: re.Match[str]) -> str | None:
        groups = re.findall(r"\d+", match.group())
        plus = f"{self._language.words['plus']} " if match.group().startswith("+") else ""
        return plus + ", ".join(map(self._language.digits, groups))

    def _dotted(self, match: re.Match[str]) -> str:
        parts = re.findall(r"\d+", match.group())
        name = self._language.words["version"] if match.group()[0] in "vV" else ""
        point = self._language.words["point" if self._language.decimal == "." and len(parts) != 4 else "dot"]
        words = [self._language.number(Number(part)) for part in parts]
        return self._language.join(name, self._language.join(*[f for word in words for f in (point, word)][1:]))

    def _half(self, match: re.Match[str]) -> str:
        return self._mixed(match["whole"], *HALVES[match["half"]])

    def _fraction(self, match: re.Match[str]) -> str:
        return self._mixed(match["whole"], int(match["over"]), int(match["under"]))

    def _mixed(self, whole: str | None, over: int, under: int) -> str:
        language = self._language
        part = language.fraction(over, under)
        if whole is None:
            return part
        if language.code == "en" and over == 1:
            part = part.replace("one ", "a ", 1)
        return language.join(language.number(Number(whole)), language.words["and"], part)

    def _point(self, match: re.Match[str]) -> str:
        return self._language.join(self._language.words["point"], self._language.digits(match["fraction"]))

    def _ordinal(self, match: re.Match[str]) -> str:
        return self._language.ordinal(int(match["number"]))

    def _decade(self, match: re.Match[str]) -> str:
        assert isinstance(self._language, English)
        return self._language.decade(match["number"])

    def _scaled(self, match: re.Match[str]) -> str:
        language = self._language
        return language.join(language.number(self._read(match["number"])), language.scales[match["scale"]])

    def _quantity(self, match: re.Match[str]) -> str:
        language, sign, unit = self._language, (match["sign"] or "").strip(), match["unit"]
        first, last = self._read(match["number"]), match["last"] and self._read(match["last"])
        number = last or first
        if unit in ("%", "％", "‰"):
            said = language.share(language.number(number), language.words["per_mille" if unit == "‰" else "percent"])
        elif unit:
            said = language.measure(UNITS[unit], number)
        else:
            said = language.bare(number)
        if last:
            said = language.join(language.number(first) if unit else language.bare(first), language.words["to"], said)
        return language.join(language.words[BEFORE[sign]] if sign else "", said)

    def _percent(self, match: re.Match[str]) -> str:
        language = self._language
        return language.share(language.number(self._read(match["number"])), language.words["percent"])

    def _before_number(self, match: re.Match[str]) -> str:
        return self._language.before_number[match["short"]]

    def _abbreviation(self, match: re.Match[str]) -> str:
        return self._language.abbreviations[match["short"]]

    def _height(self, match: re.Match[str]) -> str:
        return f"{self._whole(match['feet'])} foot {self._whole(match['inches'])}"

    def _score(self, match: re.Match[str]) -> str:
        return f"{self._whole(match['number'])} to {self._whole(match['last'])}"

    def _whole(self, written: str) -> str:
        return self._language.number(Number(written))

    def _sign(self, match: re.Match[str]) -> str:
        return self._language.words[SIGNS[match.group()]]

    def _emoji(self, match: re.Match[str]) -> str:
        found = [emojis.name(emoji, self._language.code) for emoji in re.findall(emojis.EMOJI, match.group())]
        names = [name for name, _ in groupby(found)]  # one after another, the same emoji is said once
        return self._language.join(*names)

    def _read(self, written: str) -> Number:
        """A number as it is written."""
        whole, _, fraction = written.partition(self._language.decimal)
        plain = re.sub(rf"[{re.escape(self._groups)}]", "", whole)
        return Number(plain, fraction, grouped=plain != whole)


def _alternatives(words: Iterable[str]) -> str:
    """A pattern for any of some words, the longest first; without words, one that matches nothing."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)"
