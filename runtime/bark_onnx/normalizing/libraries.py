"""What is taken from the libraries of the extra `text`: num2words, Babel (Unicode's CLDR) and emoji.

They are imported when a text is normalised, not before.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..errors import BarkError, how_to_install

_OTHER_WORDS = frozenset("с ч г В pi deg".split())  # abbreviations of units that more often are something else
_REMEMBERED = 4096  # quantities: a text that comes piece by piece is looked at after each word
LIBRARIES = ("num2words", "babel", "emoji")


@cache
def missing() -> tuple[str, ...]:
    """The libraries that are not installed."""
    found = []
    for library in LIBRARIES:
        try:
            version(library)  # without importing it, which takes time
        except PackageNotFoundError:
            found.append(library)
    return tuple(found)


def require(wanted: str) -> None:
    """Raise BarkError that says what to install, unless all libraries are installed.

    Args:
        wanted: what needs them.
    """
    if missing():
        raise BarkError(f"{wanted} needs {', '.join(missing())}: {how_to_install('text')}")


@cache
def number_converter(code: str) -> Any:
    """num2words' converter of a language. It has neither Hindi nor Chinese."""
    from num2words import CONVERTER_CLASSES

    return CONVERTER_CLASSES["pt_BR" if code == "pt" else code]  # Bark's voices speak Brazilian Portuguese


@cache
def months(code: str) -> dict[str, int]:
    """The names of the months, as they stand in a date and alone -> 1 to 12. The first name of a month is for dates."""
    from babel import Locale

    found: dict[str, int] = {}
    names = Locale.parse(code).months
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated") if code == "en" else ("wide",):  # "3 set" may be three sets in Italian
            for number, name in names[context][width].items():
                found.setdefault(name.rstrip("."), number)
    return {**found, "Sept": 9} if code == "en" else found


def unit_signs(code: str, units: Iterable[str]) -> dict[str, str]:
    """How a language abbreviates units, such as "км/ч" -> their names in CLDR."""
    from babel.units import format_unit

    written = {format_unit(1, unit, length="short", format="0", locale=code): unit for unit in units}
    signs = {sign[1:].strip(): unit for sign, unit in written.items() if sign.startswith("1")}
    return {sign: unit for sign, unit in signs.items() if sign not in _OTHER_WORDS}


@lru_cache(_REMEMBERED)
def with_unit(code: str, unit: str, number: Decimal, words: str) -> str:
    """A quantity in words, such as "five kilograms".

    Args:
        unit: its name in CLDR.
        number: it decides between singular and plural.
        words: of the number.
    """
    from babel.units import format_unit

    written = format_unit(number, unit, length="long", format="0.######", locale=code)
    named = re.sub(r"\d[\d.,]*", lambda _: words, written, count=1).replace("\xa0", " ").replace("/", " ")
    return named.replace(" ", "") if code in ("ja", "zh") else named


def amount(code: str, currency: str, whole: int, hundredths: str) -> str | None:
    """An amount of money in a language whose nouns have several plurals, by num2words.

    Args:
        hundredths: two digits, or "".

    Returns None if num2words does not know the currency, or there are other digits.
    """
    converter = number_converter(code)
    if currency not in converter.CURRENCY_FORMS or len(hundredths) not in (0, 2):
        return None
    said: str = converter.to_currency(Decimal(f"{whole}.{hundredths or '00'}"), currency=currency, separator="|")
    units, _, rest = said.partition("|")
    return f"{units} {rest.strip()}" if hundredths.strip("0") else units


def currency_name(code: str, currency: str, number: int) -> str:
    """The name of a currency, such as "Polish zlotys".

    Args:
        currency: its code in ISO 4217.
        number: it decides between singular and plural.
    """
    from babel.numbers import get_currency_name

    name: str = get_currency_name(currency, count=number, locale=code)
    return name


@cache
def emoji_names(code: str) -> dict[str, str]:
    """Emoji -> names. They are empty in Hindi and Polish, which the library has not."""
    from emoji import EMOJI_DATA, config

    if code in ("hi", "pl"):
        return dict.fromkeys(EMOJI_DATA, "")
    config.load_language(code)
    return {
        emoji: re.sub("[_:]+", " ", names.get(code, "")).strip()
        for emoji, names in EMOJI_DATA.items()
        if not emoji.isascii()
    }
