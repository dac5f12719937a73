"""What a language is for normalising: its words, and how it writes and says numbers, dates, times and money.

The words are in `languages/CODE.toml`. English has rules beyond them, in `english.py`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from . import libraries
from .numerals import LONGEST, cardinal, digits, ordinal, year
from .signs import UNITS

LANGUAGES = ("en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")  # those of Bark's voices

_TABLES = Path(__file__).parent / "languages"
_KOREAN_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_KOREAN_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")

_GERMAN_ENDINGS = {**dict.fromkeys("am vom zum dem den des beim im ab bis".split(), "n"), "der": ""}  # of ordinals


@dataclass(frozen=True)
class Number:
    """A number as it is written.

    Args:
        whole: its digits before the decimal sign, without signs between groups.
        fraction: its digits after it.
        grouped: whether there were signs between groups.
    """

    whole: str
    fraction: str = ""
    grouped: bool = False

    @property
    def value(self) -> Decimal:
        """Its value, of at most 15 digits: more are never read as one number."""
        return Decimal(f"{self.whole[-LONGEST:]}.{self.fraction[:6]}" if self.fraction else self.whole[-LONGEST:])


@dataclass(frozen=True, eq=False)
class Language:
    """One of the languages.

    Args:
        code: such as `de`.
        decimal: the sign before a fraction.
        groups: signs between groups of three digits.
        words: what signs and parts of numbers are called.
        date, day_month, clock, full_hour: templates; `day_month` is a date without a year.
        day: whether the day of a date is an "ordinal" or a "cardinal".
        first_day: what the first day of a month is called, if it is not like the others.
        hours: what hours are called, if not like other numbers.
        one: the number 1 before a noun, if it is not like the number alone.
        month_first: whether 3/5 is a day of March.
        spaced: whether words have spaces between them.
        fractions: further than the language can make them, as 1/2.
        scales: abbreviated large numbers.
        money: ISO 4217 -> the names of one and of more, then of their hundredths.
        abbreviations: and what they mean; with `before_number` those that mean it before a number only.
    """

    code: str
    decimal: str
    groups: str
    words: Mapping[str, str]
    date: str
    day_month: str
    clock: str
    full_hour: str
    day: str = "cardinal"
    first_day: str = ""
    one: str = ""
    month_first: bool = False
    spaced: bool = True
    hours: Mapping[str, str] = field(default_factory=dict)
    fractions: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, str] = field(default_factory=dict)
    money: Mapping[str, str] = field(default_factory=dict)
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    before_number: Mapping[str, str] = field(default_factory=dict)

    @property
    def space(self) -> str:
        return " " if self.spaced else ""

    def join(self, *words: str) -> str:
        """Words one after another."""
        return self.space.join(filter(None, words))

    def number(self, number: Number) -> str:
        """A number in words. Digit by digit if it begins with a zero, or is too long to be a number."""
        long = len(number.whole) > LONGEST or (len(number.whole) > 1 and number.whole.startswith("0"))
        long |= len(number.whole) > 8 and not number.grouped and not number.whole.endswith("000")  # not a quantity
        whole = digits(self.code, number.whole) if long else cardinal(self.code, int(number.whole))
        if not number.fraction:
            return whole
        return self.join(whole, self.words["point"], self._fraction(number.fraction))

    def _fraction(self, fraction: str) -> str:
        """The digits after the decimal sign: one number where the language says so, else digit by digit."""
        as_number = self.code in ("es", "fr", "it", "pl", "pt", "ru", "tr") and len(fraction) <= 2
        if as_number and not fraction.startswith("0"):
            return cardinal(self.code, int(fraction))
        return digits(self.code, fraction)

    def bare(self, number: Number) -> str:
        """A number beside which nothing says what it counts: four digits may be a year."""
        if self.code == "de" and not number.fraction and not number.grouped and self.is_year(number.whole):
            return year(self.code, int(number.whole))
        return self.number(number)

    @staticmethod
    def is_year(digits: str) -> bool:
        """Whether a number of four digits is more often a year than something else."""
        return len(digits) == 4 and "1100" <= digits <= "2099"

    def counted(self, number: Number) -> str:
        """A number before a noun: "ein Euro", "veintiún euros", "한 시"."""
        if number.fraction or not self.one or not number.whole.endswith("1") or len(number.whole) > LONGEST:
            return self.number(number)
        words = self.number(number)
        for alone in ("eins", "veintiuno", "uno"):
            if words == alone or (words.endswith(alone) and self.code != "it"):
                return words.removesuffix(alone) + ("veintiún" if alone == "veintiuno" else self.one)
        return words

    def ordinal(self, number: int) -> str:
        """A place: "first"."""
        return ordinal(self.code, number)

    def digits(self, written: str) -> str:
        """Digit by digit."""
        return digits(self.code, written)

    @cached_property
    def units(self) -> dict[str, str]:
        """Signs of units -> their names in CLDR."""
        return {**libraries.unit_signs(self.code, UNITS.values()), **UNITS}

    # dates and times

    @cached_property
    def months(self) -> dict[str, int]:
        """Names of months -> 1 to 12."""
        return libraries.months(self.code)

    def said_date(self, written_year: str, month: int, day: int, before: str = "") -> str:
        """A date.

        Args:
            written_year: "" if it is left out.
            before: the word before the date.
        """
        template = self.date if written_year else self.day_month
        return template.format(year=self.year(written_year), month=self._month(month), day=self._day(day, before))

    def _month(self, month: int) -> str:
        if self.code in ("ja", "ko", "zh"):
            return {"육": "유", "십": "시"}.get(cardinal(self.code, month), cardinal(self.code, month))
        return next(name for name, number in self.months.items() if number == month)

    def _day(self, day: int, before: str) -> str:
        if day == 1 and self.first_day:
            return self.first_day
        if self.day != "ordinal":
            return cardinal(self.code, day)
        words = self.ordinal(day)
        if self.code == "ru":  # the neuter: пятое
            return words[:-2] + ("ье" if words.endswith("третий") else "ое")
        return words + _GERMAN_ENDINGS.get(before.lower(), "r") if self.code == "de" else words

    def year(self, written: str) -> str:
        """A year of one to four digits; "" for ""."""
        if not written:
            return ""
        if self.code == "ru" and written != "0":  # две тысячи двадцать четвёртого года
            said: str = libraries.number_converter("ru").to_ordinal(int(written), case="g")
            return said
        return year(self.code, int(written))

    def time(self, hour: int, minute: int, second: int | None, half: str) -> str:
        """A time of day.

        Args:
            half: am or pm; "" without.
        """
        said_hour = self.hours.get(str(hour)) or self.counted(Number(str(hour)))
        if self.code == "ko" and 0 < hour <= 12:
            said_hour = self.native(hour)
        template = self.full_hour if not minute and second is None else self.clock
        if self.code == "fr" and hour < 2:
            template = template.replace("heures", "heure")
        if half and not minute and self.code in ("es", "it", "pt"):
            template = "{hour}"
        said = template.format(hour=said_hour, minute=cardinal(self.code, minute))
        if second is not None:
            said = self.join(said, cardinal(self.code, second))
        return self.join(said, " ".join(half.upper()))

    @staticmethod
    def native(number: int) -> str:
        """1 to 99 in Korean's own numbers, which count hours and things."""
        return "스무" if number == 20 else _KOREAN_TENS[number // 10] + _KOREAN_ONES[number % 10]

    # quantities

    def amount(self, currency: str, number: Number, scale: str) -> str:
        """An amount of money.

        Args:
            currency: its code in ISO 4217.
            scale: the word after the number, such as "million".
        """
        if self.code in ("pl", "ru") and not scale and len(number.whole) <= LONGEST:
            said = libraries.amount(self.code, currency, int(number.value), number.fraction)
            if said:
                return said
        names = self.money.get(currency, "").split()
        one, more = names[:2] or (libraries.currency_name(self.code, currency, n) for n in (1, int(number.value)))
        hundredths = len(number.fraction) == 2 and len(names) == 4 and not scale
        if hundredths:
            whole, cents = Number(number.whole), int(number.fraction)
            parts = [self._money(whole, one, more)] if int(number.value) or not cents else []
            parts += [self._money(Number(str(cents)), *names[2:])] if cents else []
            return self.join(parts[0], self.words.get("cents", "") if len(parts) > 1 else "", *parts[1:])
        if scale:
            if self.code == "fr" and more[0] in "aeiouy":
                return f"{self.number(number)} {scale.removesuffix(' de')} d'{more}"
            return self.join(self.number(number), scale, more)
        return self._money(number, one, more)

    def _money(self, number: Number, one: str, more: str) -> str:
        return self.join(self.counted(number), one if number.value == 1 else more)

    def measure(self, unit: str, number: Number) -> str:
        """A quantity with a unit, which is named as CLDR does."""
        return libraries.with_unit(self.code, unit, number.value, self.counted(number))

    def share(self, words: str, name: str) -> str:
        """A number of percent or of thousandths."""
        return self.join(name, words) if self.words.get("percent_first") else self.join(words, name)

    def fraction(self, over: int, under: int) -> str:
        """Such as 3/4."""
        if known := self.fractions.get(f"{over}/{under}"):
            return known
        first, second = cardinal(self.code, over), cardinal(self.code, under)
        if self.code in ("ja", "ko", "zh"):
            first, second = second, first
        return self.join(first, self.words["over"], second)


def read_table(code: str) -> dict[str, Any]:
    """The table of a language: the arguments of `Language` without its code."""
    return tomllib.loads((_TABLES / f"{code}.toml").read_text(encoding="utf-8"))
