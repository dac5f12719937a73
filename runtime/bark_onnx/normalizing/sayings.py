"""What is written, in words: one method for each kind of writing, which gets what a pattern of `rules` has found."""

import re
from decimal import Decimal
from itertools import groupby

from . import emojis, web
from .english import English
from .language import Language, Number
from .libraries import with_unit
from .signs import BEFORE, CURRENCIES, HALVES, SIGNS

_PHONE = re.compile(
    r"\b(?:tel|tél|tlf|telefon\w*|phone|fax|mobile|mobil|handy|whatsapp|telefone|teléfono|téléphone|celular|cellulare|"
    r"call|llam[ae]|appelez|тел|телефон\w*|फोन|फ़ोन)\b[.:]{0,2}\s{0,2}$|(?:电话|手机|電話番号?|전화)[：:は는]?\s?$",
    re.IGNORECASE,
)
_NO_NOUNS = frozenset("del por con que más menos per non dal nel como son era para and sin hasta contra".split())
_LENGTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of the months


class Sayings:
    """What becomes of matches in a language. A method returns None if the match is something else.

    Args:
        language: its words.
        groups: signs between groups of digits.
    """

    def __init__(self, language: Language, groups: str) -> None:
        self._language = language
        self._groups = re.compile(f"[{re.escape(groups)}]")

    def web(self, match: re.Match[str]) -> str:
        """An address on the web or of e-mail."""
        written = match.group()
        address = written.rstrip(".,;:!?*_~")
        return web.spelled(address, self._language) + written[len(address) :]

    def date(self, match: re.Match[str]) -> str | None:
        """A date; None if there is no such day."""
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
        year = given.get("year") or ""
        if len(year) == 2:
            year = ("20" if year < "70" else "19") + year
        if not 1 <= month <= 12 or not 1 <= day <= _LENGTHS[month]:
            return None
        year = year.lstrip("0") or year[:1]
        if until := given.get("until"):
            said = f"{self._language.said_date('', month, day)} to {self._language.ordinal(int(until))}"
            return f"{said}, {self._language.year(year)}" if year else said
        before = match.string[max(0, match.start() - 8) : match.start()].split()
        day_first = not name or match.start("day") < match.start("name")
        return self._language.said_date(year, month, day, before[-1] if before and day_first else "")

    def time(self, match: re.Match[str]) -> str | None:
        """A time of day; None for 13 pm."""
        given = match.groupdict()
        hour, half = int(given["hour"]), given.get("half") or ""
        if half and not 1 <= hour <= 12:
            return None
        second = given.get("second")
        seconds = None if second is None else int(second)
        return self._language.time(hour, int(given.get("minute") or 0), seconds, half and f"{half}m")

    def money(self, match: re.Match[str]) -> str:
        """An amount, or two."""
        given = match.groupdict()
        language = self._language
        currency = CURRENCIES[given["currency"]]
        if language.code == "zh" and given["currency"] in "¥￥":
            currency = "CNY"
        scale = language.scales.get(given["scale"] or "", "")
        said = language.amount(currency, self._read(given["last"] or given["number"]), scale)
        if given["last"]:
            said = language.join(language.number(self._read(given["number"])), language.words["to"], said)
        return language.join(language.words["minus"] if given["sign"] or given.get("minus") else "", said)

    def phone(self, match: re.Match[str]) -> str | None:
        """Groups of digits, digit by digit."""
        groups = re.findall(r"\d+", match.group())
        plus = f"{self._language.words['plus']} " if match.group().startswith("+") else ""
        between = {"ja": "の", "zh": "，"}.get(self._language.code, ", ")
        return plus + between.join(map(self._language.digits, groups))

    def phone_after_its_name(self, match: re.Match[str]) -> str | None:
        """A number after "Tel." or such a word; None after another word."""
        before = match.string[max(0, match.start() - 16) : match.start()]
        return self.phone(match) if _PHONE.search(before) else None

    def dotted(self, match: re.Match[str]) -> str:
        """A version, an address of a computer, or digits with full stops."""
        parts = re.findall(r"\d+", match.group())
        name = self._language.words["version"] if match.group()[0] in "vV" else ""
        if (
            name
            and match.string[max(0, match.start() - 20) : match.start()].rstrip()[-len(name) :].lower() == name.lower()
        ):
            name = ""  # is written before: version v2.0
        point = self._language.words["point" if self._language.decimal == "." and len(parts) != 4 else "dot"]
        words = [self._language.number(Number(part)) for part in parts]
        return self._language.join(name, self._language.join(*[f for word in words for f in (point, word)][1:]))

    def half(self, match: re.Match[str]) -> str:
        """A fraction that is one character."""
        return self._mixed(match, *HALVES[match["half"]])

    def fraction(self, match: re.Match[str]) -> str:
        """Such as 3/4 or 2 1/2."""
        return self._mixed(match, int(match["over"]), int(match["under"]))

    def _mixed(self, match: re.Match[str], over: int, under: int) -> str:
        language, whole, unit = self._language, match["whole"], match["unit"]
        said = language.fraction(over, under)
        if whole is not None:
            if language.code == "en" and over == 1:
                said = said.replace("one ", "a ", 1)
            said = language.join(language.number(Number(whole)), language.words["and"], said)
        if not unit:
            return said
        value = Decimal(int(whole or 0)) + Decimal(over) / Decimal(under or 1)
        if language.code == "en" and whole is None:
            value = Decimal(1)  # half a kilogram, not kilograms
        return with_unit(language.code, language.units[unit], round(value, 3).normalize(), said)

    def point(self, match: re.Match[str]) -> str:
        """Such as .5."""
        return self._language.join(self._language.words["point"], self._language.digits(match["fraction"]))

    def ordinal(self, match: re.Match[str]) -> str:
        """Such as 1st."""
        return self._language.ordinal(int(match["number"].replace(",", "")))

    def decade(self, match: re.Match[str]) -> str:
        """Such as 1990s and '80s."""
        assert isinstance(self._language, English)
        return self._language.decade(match["number"])

    def scaled(self, match: re.Match[str]) -> str:
        """Such as 10k."""
        language = self._language
        return language.join(language.number(self._read(match["number"])), language.scales[match["scale"]])

    def quantity(self, match: re.Match[str]) -> str:
        """One number or two, with a sign or a unit or without."""
        language, sign, unit = self._language, (match["sign"] or "").strip(), match["unit"]
        first, last = self._read(match["number"]), match["last"] and self._read(match["last"])
        number = last or first
        if unit in ("%", "％", "‰"):
            said = language.share(language.number(number), language.words["per_mille" if unit == "‰" else "percent"])
        elif unit:
            said = language.measure(language.units[unit], number)
        else:
            said = language.bare(number) if last or not self._before_noun(match) else language.counted(number)
        if last:
            said = language.join(language.number(first) if unit else language.bare(first), language.words["to"], said)
        return language.join(language.words[BEFORE[sign]] if sign else "", said)

    def _before_noun(self, match: re.Match[str]) -> bool:
        """Whether a number that ends with 1 stands before what it counts, where that changes it: "un perro"."""
        after = match.string[match.end() : match.end() + 10]
        if self._language.code == "de":
            return bool(re.match(r"\s[A-ZÄÖÜ]", after))
        found = re.match(r"\s([^\W\d_]{3,})", after)
        return self._language.code in ("es", "it") and bool(found and found.group(1) not in _NO_NOUNS)

    def percent(self, match: re.Match[str]) -> str:
        """Such as %50 in Turkish."""
        language = self._language
        return language.share(language.number(self._read(match["number"])), language.words["percent"])

    def before_number(self, match: re.Match[str]) -> str:
        """Such as No. in No. 5."""
        return self._language.before_number[match["short"]]

    def abbreviation(self, match: re.Match[str]) -> str:
        """Such as etc."""
        return self._language.abbreviations[match["short"]]

    def height(self, match: re.Match[str]) -> str:
        """Such as 6'2"."""
        return f"{self.whole(match['feet'])} foot {self.whole(match['inches'])}"

    def score(self, match: re.Match[str]) -> str:
        """Such as 3:1."""
        ratio = f" {self._language.words.get('ratio', self._language.words['to'])} ".replace(" ", self._language.space)
        return ratio.join(map(self.whole, [match["number"], *match["last"].split(":")]))

    def whole(self, written: str) -> str:
        """A whole number."""
        return self._language.number(Number(written))

    def sign(self, match: re.Match[str]) -> str:
        """Such as & and =."""
        return self._language.words[SIGNS[match.group()]]

    def emoji(self, match: re.Match[str]) -> str:
        """One emoji, or several."""
        found = [emojis.name(emoji, self._language.code) for emoji in re.findall(emojis.EMOJI, match.group())]
        names = [name for name, _ in groupby(found)]  # one after another, the same emoji is said once
        return self._language.join(*names)

    def _read(self, written: str) -> Number:
        """A number as it is written."""
        whole, _, fraction = written.partition(self._language.decimal)
        plain = self._groups.sub("", whole)
        return Number(plain or "0", fraction, grouped=plain != whole)
