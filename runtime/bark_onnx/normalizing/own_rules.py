"""Rules that only one language, or some, have; those of English are in `english_rules`."""

import re

from . import libraries
from .language import Language
from .sayings import Sayings
from .signs import Written

_RUSSIAN: dict[str, dict[str, str | bool]] = {  # the ending of an ordinal -> how num2words is asked for it
    "й": {}, "ый": {}, "ой": {}, "ий": {}, "я": {"gender": "f"}, "ая": {"gender": "f"}, "е": {"gender": "n"},
    "ое": {"gender": "n"}, "го": {"case": "g"}, "ого": {"case": "g"}, "му": {"case": "d"}, "м": {"case": "p"},
    "х": {"case": "g", "plural": True}, "ю": {"case": "a", "gender": "f"}, "ую": {"case": "a", "gender": "f"},
}  # fmt: skip
_RUSSIAN_YEARS = {"год": "n", "года": "g", "году": "p", "г.": "g"}
_GERMAN_ARTICLES = {  # -> what the ordinal after them ends with
    **dict.fromkeys(("der", "die", "das"), ""),
    **dict.fromkeys(("den", "dem", "des", "im", "am", "zum", "vom", "beim", "ab", "seit"), "n"),
}
_KOREAN_COUNTED = "시간|시(?![즌간스])|명|개(?![월년국])|살|마리|권|잔|병|벌|송이|가지|그루|켤레|사람"
_MEASURES = "个位只条张本次件杯台辆家种块倍周天斤元点米"  # before which 2 is 两


def own_rules(language: Language, say: Sayings, number: str) -> list[Written]:
    """The rules of a language other than English, which are tried before those of all.

    Args:
        number: the pattern of a number.
    """
    code = language.code
    make = {
        "de": _german, "es": _spanish, "fr": _french, "hi": _hindi, "it": _italian, "ja": _japanese, "ko": _korean,
        "pl": _polish, "pt": _portuguese, "ru": _russian, "tr": _turkish, "zh": _chinese,
    }[code]  # fmt: skip
    return make(language, say, number)


def _german(language: Language, say: Sayings, number: str) -> list[Written]:
    def ordinal(match: re.Match[str]) -> str | None:
        """Die zweite Liga, im zweiten Stock; None for a number at the end of a sentence."""
        before = match.string[max(0, match.start() - 8) : match.start()].split()
        article = before[-1].lower() if before else ""
        if not match["noun"] and article not in _GERMAN_ARTICLES:
            return None
        return language.ordinal(int(match["number"])) + _GERMAN_ARTICLES.get(article, "r")

    months = "|".join(map(re.escape, language.months))
    known = "(?P<noun>(?:Jahrhundert|Weltkrieg|Platz|Stock|Kapitel)?)"
    return [
        (r"(?<![\w.:,])(?P<hour>[01]?\d|2[0-3])\.(?P<minute>[0-5]\d)\sUhr\b", say.time),
        (
            r"(?:(?<=am )|(?<=vom )|(?<=zum )|(?<=bis )|(?<=ab ))(?P<day>\d\d?)\.\s?(?P<month>\d\d?)\.(?!\s?\d)",
            say.date,
        ),
        (rf"(?<![\w.,])(?P<number>\d{{1,3}})\.(?=\s(?!{months}){known})", ordinal),
    ]


def _spanish(_: Language, say: Sayings, number: str) -> list[Written]:
    return [
        (r"(?<![\w.:,])(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d))?\s?(?P<half>[aApP])\.\s?[mM]\b\.?", say.time),
        *_with_o(say),
    ]


def _italian(_: Language, say: Sayings, number: str) -> list[Written]:
    return [(r"(?<=\bore )(?P<hour>[01]?\d|2[0-3])\.(?P<minute>[0-5]\d)(?![\d.])", say.time), *_with_o(say)]


def _portuguese(_: Language, say: Sayings, number: str) -> list[Written]:
    return [
        (r"(?<![\w.,+-])(?!(?:1[89]|20)\d\d-)(?:\(\d\d\)\s?)?9?\d{4}-\d{4}(?![\w-])", say.phone),
        (r"(?<![\w.,+-])\d{5}-\d{3}(?![\w-])|(?<![\w.,+-])\d{3}\.\d{3}\.\d{3}-\d\d(?![\w-])", say.phone),
        *_with_h(say),
        *_with_o(say),
    ]


def _with_o(say: Sayings) -> list[Written]:
    return [(r"(?<![\w.,])(?P<number>\d{1,6})\.?[ºª](?!\w)", say.ordinal)]


def _with_h(say: Sayings) -> list[Written]:
    return [(r"(?<![\w.:,])(?P<hour>[01]?\d|2[0-3])\s?h\s?(?P<minute>[0-5]\d)?(?:\s?min\b)?(?!\w)", say.time)]


def _french(language: Language, say: Sayings, number: str) -> list[Written]:
    def pairs(match: re.Match[str]) -> str:
        return ", ".join(say.whole(pair) for pair in re.findall(r"\d\d", match.group()))

    return [
        (r"(?<![\w.,+-])0\d(?:[ .-]\d\d){4}(?![\w-]|[.,]\d)", pairs),
        *_with_h(say),
        (r"(?<![\w.,])1(?:re|ère)(?!\w)", lambda _: "première"),
        (r"(?<![\w.,])2(?P<ending>nde?)(?!\w)", lambda match: f"seco{match['ending']}"),
        (r"(?<![\w.,])(?P<number>\d{1,6})(?:er|e|ème|ième)(?!\w)", say.ordinal),
    ]


def _hindi(_: Language, say: Sayings, number: str) -> list[Written]:
    return [(r"(?<![\w.,+-])[6-9]\d{4}[ -]?\d{5}(?![\w,-])", say.phone)]


def _polish(_: Language, say: Sayings, number: str) -> list[Written]:
    return [(r"(?<=\d\d\d\d )r\.(?=\s|\Z)", lambda _: "roku")]


def _russian(_: Language, say: Sayings, number: str) -> list[Written]:
    def asked(written: str, **form: str | bool) -> str:
        said: str = libraries.number_converter("ru").to_ordinal(int(written), **form)
        return said

    def ordinal(match: re.Match[str]) -> str:
        several = match["ending"] == "е" and len(match["number"]) > 1 and match["number"].endswith("0")
        form: dict[str, str | bool] = {"plural": True} if several else _RUSSIAN[match["ending"]]
        return asked(match["number"], **form)

    def year(match: re.Match[str]) -> str:
        case = _RUSSIAN_YEARS[match["year"]]
        before = match.string[max(0, match.start() - 4) : match.start()].split()
        if match["year"] == "г." and before and before[-1].lower() in ("в", "во"):
            case = "p"
        noun = {"n": "год", "g": "года", "p": "году"}[case]
        return f"{asked(match['number'], case=case)} {noun}"

    endings = "|".join(sorted(_RUSSIAN, key=len, reverse=True))
    return [
        (r"(?<![\w.,-])(?P<number>[12]\d{3})\s(?P<year>года|году|год(?!\w)|г\.)(?![^\W\d])", year),
        (rf"(?<![\w.,])(?P<number>[1-9]\d{{0,5}})-(?P<ending>{endings})(?!\w)", ordinal),
        (r"(?<![\w.,+-])8\s?\(\d{3}\)\s?\d{3}-\d\d-\d\d(?![\w-])", say.phone),
    ]


def _turkish(_: Language, say: Sayings, number: str) -> list[Written]:
    return [
        (rf"%\s?(?P<number>{number})", say.percent),
        (r"(?<![\w.,])(?P<number>\d{1,6})['’]?n?(?:[iıuü]nc|c)[iıuü](?!\w)", say.ordinal),
        (r"(?<![\w.,])(?P<number>\d{1,3})\.(?=\s(?:[a-zçğıöşü]|Dünya|Lig|Bölüm))", say.ordinal),
    ]


def _japanese(_: Language, say: Sayings, number: str) -> list[Written]:
    return [(r"(?<!\d)\d{3}-\d{4}(?![\d-])", say.phone)]  # a postal code


def _korean(language: Language, say: Sayings, number: str) -> list[Written]:
    def counted(match: re.Match[str]) -> str | None:
        written = int(match["number"])
        if not written or (match["noun"] == "시" and written > 12):
            return None
        return f"{language.native(written)} {match['noun']}"

    return [
        (rf"(?<![\d.,:-])(?P<number>\d{{1,2}})\s?(?P<noun>{_KOREAN_COUNTED})", counted),
        (r"(?<![\d.,])(?:(?P<six>6)|10)월", lambda match: "유월" if match["six"] else "시월"),
        (r"(?<![\d-])1\d{3}-\d{4}(?![\d-])", say.phone),
    ]


def _chinese(language: Language, say: Sayings, number: str) -> list[Written]:
    def years(match: re.Match[str]) -> str:
        return f"{language.year(match['number'])}到{language.year(match['last'])}"

    return [
        (r"(?<!\d)(?P<number>\d{4})\s?[-–—~～]\s?(?P<last>\d{4})(?=年)", years),
        (r"(?<!\d)(?P<number>\d{4})(?=年)", lambda match: language.year(match["number"])),
        (r"(?<!\d)1[3-9]\d(?:\d{8}|[ -]\d{4}[ -]\d{4})(?!\d)", say.phone),
        (rf"(?<![\d.,第-])2(?=[{_MEASURES}])", lambda _: "两"),
    ]
