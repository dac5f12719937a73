"""What is rewritten in English alone: rules that go before those of every language, and rules that go among them."""

import re

from .language import Language
from .roman import HEADS, KINGS, NUMERAL, value
from .sayings import Sayings
from .signs import Written

_DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_PER = {  # after a slash: 5 dollars/hr
    **{word: word for word in "hour day night week month year minute mile person user unit item page".split()},
    "hr": "hour", "h": "hour", "wk": "week", "mo": "month", "yr": "year", "min": "minute", "s": "second",
    "sec": "second", "kg": "kilogram", "g": "gram", "lb": "pound", "oz": "ounce", "km": "kilometer", "mi": "mile",
    "L": "liter", "l": "liter", "dL": "deciliter", "mL": "milliliter", "gal": "gallon", "GB": "gigabyte",
    "kWh": "kilowatt hour",
}  # fmt: skip
_COMPARISONS = {
    "<=": "less than or equal to", "≤": "less than or equal to", ">=": "greater than or equal to",
    "≥": "greater than or equal to", "!=": "not equal to", "≠": "not equal to", "==": "equals", "->": "to", "→": "to",
    "=>": "to",
}  # fmt: skip
_STREETS = {"St": "Street", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road"}
_SAINTS = (
    "John|Johns|Louis|Paul|Peter|Peters|Petersburg|Patrick|Mary|Michael|Joseph|James|George|Francis|Andrews?|Thomas|"
    "Nicholas|Martin|Lucia|Augustine|Clair|Cloud|Moritz|Helena|Helens|Vincent|Kitts|Catharines|Albans|Jude|Anthony"
)
_LOWER = r"(?:Dr|He|She|It|They|We|The|You|In|At|On|And|But)\b"  # what begins a sentence and is no name

# Writing that has neither digits nor signs.
WRITING = (
    r"\b(?:St|Dr)\.|(?:St|Ave|Blvd|Rd)(?=[,\n])|[²³]|\b[IVX]{2,}\b|(?:Chapter|Part|Act|Book|Scene|War|Volume) [IVX]\b"
    r"|(?:Mon|Tues?|Wed|Thu|Thurs?|Fri|Sat|Sun)\.?\s?[-–—]"
)


def before_others(language: Language, say: Sayings, months: str) -> list[Written]:
    """The rules that are tried before those of every language."""
    days = "|".join(sorted(_DAYS, key=len, reverse=True))
    per = "|".join(re.escape(unit) for unit in sorted(_PER, key=len, reverse=True))
    streets = "|".join(_STREETS)

    def hexadecimal(match: re.Match[str]) -> str:
        said = (language.digits(sign) if sign.isdigit() else sign.upper() for sign in match["hex"])
        return f"zero x {' '.join(said)}"

    def days_between(match: re.Match[str]) -> str:
        return f"{_DAYS[match['first']]} to {_DAYS[match['last']]}"

    def hour(match: re.Match[str]) -> str:
        return f"{say.whole(match['hour'])} to"

    def title(match: re.Match[str]) -> str:
        return f"{match['name']} {say.whole(str(value(match['roman'])))}"

    def king(match: re.Match[str]) -> str:
        return f"{match['name']} the {language.ordinal(value(match['roman']))}"

    return [
        (r"(?<!\w)0x(?P<hex>[0-9A-Fa-f]{1,16})(?!\w)", hexadecimal),
        (r"(?<=, [A-Z]{2} )\d{5}(?:-\d{4})?(?![\w-])", say.phone),  # Springfield, IL 62704
        (r"(?<![\w.+-])1-\d{3}(?=-[A-Z]{3})", say.phone),  # 1-800-FLOWERS
        (r"(?<![\w.+-])(?:\(\d{3}\)\s?|(?:1-)?\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-]|\.\d)", say.phone),
        (
            rf"(?<![\w.,-])(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s?[-–—]\s?(?P<until>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?"
            rf"(?P<name>{months})\b(?:,?\s(?P<year>\d{{4}})(?![\d,.]\d))?",
            say.date,
        ),
        (
            r"(?<![\w.,])(?<!\d )\d{1,3}(?: 000){1,4}(?![\w,-]| \d)",
            lambda match: say.whole(match.group().replace(" ", "")),
        ),
        (rf"\b(?P<first>{days})\.?\s?[-–—]\s?(?P<last>{days})\b\.?", days_between),
        (r"(?<![\w.:,])(?P<hour>1[0-2]|[1-9])\s?[-–—]\s?(?=\d{1,2}(?::[0-5]\d)?\s?[aApP]\.?[mM]\b)", hour),
        (r"(?:(?<=\d[aApP][mM])|(?<=\s[aApP][mM])|(?<=[aApP]\.[mM]\.))\s?[-–—]\s?(?=\d)", lambda _: "to"),
        (rf"(?<=[\dBkKM€£])/(?P<per>{per})(?![\w/])", lambda match: f"per {_PER[match['per']]}"),
        (r"(?<=\d\.\d)/(?P<of>5|10)(?![\d/.])", lambda match: f"out of {say.whole(match['of'])}"),
        (r"(?<=0s)[-–](?=['’]?\d0s)", lambda _: "to"),  # 1920s-30s
        (r"(?<=\d[kKMB])\+(?![\w+-])", lambda _: "plus"),
        (r"(?<=\d)x(?![\w-]|\s?\d)", lambda _: "times"),
        (r"(?<=[\w\s)])(?:<=|>=|!=|==|->|=>|≤|≥|≠|→)(?=[\s\w($-])", lambda match: _COMPARISONS[match.group()]),
        (r"(?<=[\w)])(?:\^2(?![\d.])|²)", lambda _: "squared"),
        (r"(?<=[\w)])(?:\^3(?![\d.])|³)", lambda _: "cubed"),
        (r"(?<=[\w)])\^(?=[-\dn(])", lambda _: "to the power of"),
        (
            r"(?<![\w.,])(?P<feet>\d)(?:['′’]|\s?(?:ft|feet)\.?\s)(?P<inches>\d\d?)(?:[\"″”]|\s?in\b\.?)?(?!\w)",
            say.height,
        ),
        (r"(?<![\w.,])(?P<number>\d{1,3})\s?¢", lambda match: f"{say.whole(match['number'])} cents"),
        (rf"(?P<name>{HEADS})\s(?P<roman>{NUMERAL})(?![\w'’]|\s[a-z])", title),
        (rf"(?P<name>{HEADS})\s(?P<roman>(?=\w\w){NUMERAL})(?![\w'’])", title),
        (rf"\b(?P<name>World War|King|Queen)\s(?P<roman>{NUMERAL})(?![\w'’])", title),
        (rf"\b(?P<name>{KINGS})\s(?P<roman>(?=\w\w|[VX]){NUMERAL})(?![\w])", king),
        (rf"(?<=[a-z] )St\.(?!\s(?:{_SAINTS}))|(?<=[a-z] )(?P<street>{streets})(?=[,\n])", _street),
        (r"\bSt\.(?=\s[A-Z])", lambda _: "Saint"),
        (rf"(?<=[a-z] )Dr\.(?=\s{_LOWER}|\s[a-z]|[,;]|\s?\Z)", lambda _: "Drive"),
        (r"\bDr\.(?=\s[A-Z])", lambda _: "Doctor"),
        (r"(?<=[a-z] )Dr\.", lambda _: "Drive"),
    ]


def among_others(say: Sayings, months: str) -> list[Written]:
    """The rules that are tried after those of dates, times, money and phone numbers."""
    return [
        (
            rf"\b(?P<name>{months})\b\.?\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-–—]\s?(?P<until>\d{{1,2}})(?:st|nd|rd|th)?)?"
            rf"(?![\d:]|[,.]\d)(?:,?\s(?P<year>\d{{4}})(?![\d,.]\d))?",
            say.date,
        ),
        (r"(?<![\w.,])(?P<number>\d{1,3}(?:,\d{3}){1,2}|\d{1,9})(?:st|nd|rd|th)\b", say.ordinal),
        (r"(?<![\w.,])['’]?(?P<number>\d{1,3}0|\d0|\d{3})['’]?s\b", say.decade),
        (r"(?<![\w.:,])(?P<hour>\d{1,2})\s?(?P<half>[aApP])(?:\.[mM]\b\.?|[mM]\b)", say.time),
        (r"(?<![\w.,])(?P<number>(?![48]k)\d{1,4}(?:\.\d{1,3})?)(?P<scale>k)(?![\w'])", say.scaled),
        (r"(?<![\w.,])(?P<number>\d{1,4}\.\d{1,3})(?P<scale>[KMB])(?![\w'])", say.scaled),
        (
            r"(?<![\w.,])(?P<number>\d{1,4})(?P<scale>M)(?=\+?\s(?:people\b|[a-z]{3,20}s\b))",
            say.scaled,
        ),  # 5M users, not 3M or 221B
        (r"(?<![\w.+-])[2-9]\d\d-\d{4}(?<!00)(?![\w-])", say.phone),
    ]


def _street(match: re.Match[str]) -> str | None:
    """Street for St., unless the word before is a small one: "in St. Louis"."""
    if street := match["street"]:
        return _STREETS[street]
    before = match.string[max(0, match.start() - 30) : match.start()].split()
    capital = before and (before[-1][0].isupper() or before[-1][0].isdigit()) and before[-1] not in _SMALL
    return "Street" if capital or not re.match(r"\s[A-Z]", match.string[match.end() : match.end() + 2]) else None


_SMALL = frozenset("The At In On Of From To And East Visit Near For By With Mount Lake Fort Saint".split())
