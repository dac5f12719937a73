"""Whole numbers as words, in Bark's 13 languages.

`num2words` knows eleven of them. It has neither Hindi nor Chinese, whose words are made here. What it writes otherwise
than prose does is put right: commas between groups, Turkish numbers in one word, the years of Japanese emperors.
"""

import re
from functools import cache, lru_cache

from .libraries import number_converter

LONGEST = 15  # digits of a number that is read as a whole: below 10 ** 15 each language has words

_HINDI = (
    "शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पन्द्रह सोलह सत्रह अठारह उन्नीस बीस इक्कीस बाईस तेईस चौबीस "
    "पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस चालीस इकतालीस "
    "बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास पचास इक्यावन बावन तिरेपन चौवन पचपन छप्पन सत्तावन अट्ठावन "
    "उनसठ साठ इकसठ बासठ तिरेसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर "
    "सतहत्तर अठहत्तर उनासी अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी नब्बे इक्यानबे बानबे तिरानबे "
    "चौरानबे पंचानबे छियानबे सत्तानबे अट्ठानबे निन्यानबे"
).split()
_HINDI_UNITS = ((10**11, "खरब"), (10**9, "अरब"), (10**7, "करोड़"), (10**5, "लाख"), (10**3, "हजार"), (10**2, "सौ"))
_CHINESE = "零一二三四五六七八九"
_CHINESE_GROUPS = ("", "万", "亿", "万亿")
_TURKISH = re.compile(
    "trilyon|milyar|milyon|altmış|doksan|dokuz|seksen|sekiz|yetmiş|yirmi|yüz|yedi|altı|beş|bin|bir|dört|elli|iki|kırk|"
    "otuz|on|sıfır|üç"
)


@lru_cache(4096)
def cardinal(code: str, number: int) -> str:
    """A whole number from 0 to 10 ** 15 - 1 in the words of a language."""
    if code == "hi":
        return _hindi(number)
    if code == "zh":
        return _chinese(number)
    words = _plain(number_converter(code).to_cardinal(number))
    return " ".join(_TURKISH.findall(words)) if code == "tr" else words


def ordinal(code: str, number: int) -> str:
    """The place that a whole number means, such as "twenty-first"; only the number in hi, ja, ko and zh."""
    if code in ("hi", "ja", "ko", "zh") or not 0 < number < 10**6:
        return cardinal(code, number)
    words = _plain(number_converter(code).to_ordinal(number))
    if code != "tr":
        return words
    *before, _ = cardinal(code, number).split()
    return " ".join([*before, words[len("".join(before)) :]])


def year(code: str, number: int) -> str:
    """A year, such as "nineteen ninety-nine"."""
    if code == "zh":
        return digits(code, str(number))
    if code not in ("en", "de"):
        return cardinal(code, number)
    return _plain(number_converter(code).to_year(number))


def digits(code: str, written: str) -> str:
    """Digit by digit: "007" is "zero zero seven"."""
    names = _digit_names(code)
    return ("" if code in ("ja", "zh") else " ").join(names[int(digit)] for digit in written)


@cache
def _digit_names(code: str) -> tuple[str, ...]:
    return tuple(cardinal(code, digit) for digit in range(10))


def _plain(words: str) -> str:
    return words.replace(",", "")


def _hindi(number: int) -> str:
    if number < 100:
        return _HINDI[number]
    size, name = next(unit for unit in _HINDI_UNITS if number >= unit[0])
    rest = number % size
    return f"{_hindi(number // size)} {name}" + (f" {_hindi(rest)}" if rest else "")


def _chinese(number: int) -> str:
    if number < 10:
        return _CHINESE[number]
    words, zero = "", False
    for place in range(3, -1, -1):
        group = number // 10 ** (4 * place) % 10_000
        if not group:
            zero = zero or bool(words)
            continue
        if words and (zero or group < 1000):
            words += "零"
        words += _chinese_group(group) + _CHINESE_GROUPS[place]
        zero = False
    return words.removeprefix("一") if words.startswith("一十") else words


def _chinese_group(group: int) -> str:
    """Up to four digits."""
    words, zero = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = group // size % 10
        if digit:
            words += "零" * (zero and bool(words)) + _CHINESE[digit] + name
        zero = not digit
    return words
