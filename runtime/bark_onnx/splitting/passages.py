"""Split a text into passages: the pieces that one generation speaks. Estimate how long a text takes to speak.

A text has paragraphs, a paragraph has sentences, and sentences are packed into passages. Every step takes time that
grows with the length of the text and not faster, also for hostile text.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from .punctuation import (
    CJK,
    CLOSING,
    COMBINING,
    DASHES,
    HAN,
    KANA,
    MARK,
    OPENING,
    SONG,
    STOPS,
    WIDE_CLOSING,
    WIDE_STOPS,
    caseless,
    is_abbreviation,
    last_word,
    next_word,
)

# How fast Bark's voices read, spaces and pauses included: about 150 English words a minute, each of five letters and a
# space. One Han or Hangul character is a syllable, one kana is a mora. The rates are those of people who read news.
LETTERS_PER_SECOND = 15.0  # Latin, Cyrillic, and every script without a rate of its own
DEVANAGARI_PER_SECOND = 14.0  # with vowel signs: a Hindi word has fewer characters than an English word has letters
HAN_PER_SECOND = 4.5
KANA_PER_SECOND = 7.0
HANGUL_PER_SECOND = 6.0
DIGITS_PER_SECOND = 15.0 / 4.5  # a digit is read as four or five letters: "25" is "twenty-five"
SECONDS_PER_MARK = 1.0  # such as [laughs] or [sighs]

SHORT_SECONDS = 2.0  # after a text shorter than this, Bark often adds speech that is not in it
NORMALIZED_TOGETHER = 500  # characters; a passage has fewer: Bark says about 200 in 14 seconds

_MARK = re.compile(MARK)
_RATES = (
    (re.compile(rf"[{HAN}]"), HAN_PER_SECOND),
    (re.compile(rf"[{KANA}]"), KANA_PER_SECOND),
    (re.compile("[\uac00-\ud7af\u1100-\u11ff\u3130-\u318f]"), HANGUL_PER_SECOND),
    (re.compile("[\u0900-\u0963\u0970-\u097f]"), DEVANAGARI_PER_SECOND),
    (re.compile(r"\d"), DIGITS_PER_SECOND),
)

_SAID = re.compile(r"[^\W_]")
_STOP = re.compile(rf"(?P<mark>{MARK})|(?P<song>{SONG})|(?P<stops>[{STOPS}]+)")
_CLOSING = re.compile(rf"(?:[{re.escape(CLOSING)}]| [»”](?= |\Z))*")  # French: « Oui ! »
_WIDE_CLOSING = re.compile(rf"[{re.escape(WIDE_CLOSING)}]*")
# What may stand between the end of one sentence and the first word of the next. The bound keeps hostile text linear.
_BEFORE_WORD = re.compile(rf"(?:[\s♪.…{re.escape(OPENING + DASHES)}]|{MARK}){{0,40}}")
_QUOTATIVE = re.compile(
    r"[とっのをがだ]|なん|など|です|\w{1,5}?[说說道问問喊叫答言]"
)  # 「行くの？」と聞いた; “来！”他说

_NOT_FIRST = ",;:!?、，；：" + WIDE_STOPS  # no sentence begins with one of these
_WRAPPED = re.compile(rf"(?<=[{CJK}])\n(?=[{CJK}])|(?<=[。！？｡…、，；：」』）】》〉”]) (?=[{CJK}])")

_CLAUSE = (
    rf"(?:[,;:!?…–—]|\.{{2,}}+)[{re.escape(CLOSING)}]*+\s+(?![{re.escape('»”!?:;…' + DASHES)}])"
    rf"|—(?=\w)|\s[{re.escape(DASHES)}]+\s"
    rf"|[、，；：{WIDE_STOPS}]++[{re.escape(WIDE_CLOSING)}]*+\s*(?![{re.escape(WIDE_CLOSING)}、，；：{WIDE_STOPS}])"
)
# A run of stops where no clause ends. Matching the whole run makes the search continue after it. Otherwise it would
# start again at each stop and read to the end of the run, which takes quadratic time.
_NO_CLAUSE = rf"\.++|[、，；：{WIDE_STOPS}]++"
_WORD = r"(?<![«„“‹(¿¡「『])\s+(?![»”!?:;…)])"  # French writes spaces inside « » and before !; no cut goes there
_CLUSTER = (  # one character as a reader counts them, with the punctuation that must stay beside it
    rf"[「『（【《〈“‘¿¡]{{0,4}}.(?:[{COMBINING}]|(?<=[\u094d\u200d]).){{0,8}}[」』）】》〉”’、，；：{STOPS}]{{0,8}}"
)


def unwrap(text: str) -> str:
    """Return a paragraph as one line. White space is collapsed; line ends inside Chinese or Japanese text go."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return _WRAPPED.sub("", "\n".join(line for line in lines if line)).replace("\n", " ")


def estimate_seconds(text: str) -> float:
    """Estimate how many seconds a text takes to speak. Voices differ by about a quarter, and so does the estimate."""
    spoken, marks = _MARK.subn("", " ".join(text.split()))
    spoken = _composed(spoken)
    seconds, letters = marks * SECONDS_PER_MARK, len(spoken)
    for script, rate in _RATES:
        count = len(script.findall(spoken))
        seconds += count / rate
        letters -= count
    return seconds + letters / LETTERS_PER_SECOND


def _composed(text: str) -> str:
    """Normalize to NFC, in which an accented letter is one character.

    `unicodedata` takes quadratic time on a run of combining characters, so long text is normalized in pieces. Where a
    piece ends between a letter and its accent, the two stay apart, which is one character more in the estimate.
    """
    pieces = range(0, len(text), NORMALIZED_TOGETHER)
    return "".join(unicodedata.normalize("NFC", text[start : start + NORMALIZED_TOGETHER]) for start in pieces)


@dataclass(frozen=True)
class Passage:
    """The text of one generation.

    Args:
        ends_paragraph: whether it is the last passage of its paragraph.
        speaker: who says it in a script; None outside scripts.
        written: how the text has it, if other words are said; None if it is said as it is written.
    """

    text: str
    ends_paragraph: bool
    speaker: str | None = None
    written: str | None = None

    @property
    def as_written(self) -> str:
        """How the text has it, for a reader."""
        return self.text if self.written is None else self.written


def passages(text: str, fits: Callable[[str], bool], speaker: str | None = None) -> list[Passage]:
    """Split a text into passages that fit. Blank lines separate paragraphs, and a passage lies within one paragraph.

    Each passage takes as many sentences as fit. A sentence that does not fit alone is cut at clauses; a clause that
    does not fit, at words; a word that does not fit, at characters. If the last piece is very short, the cut before it
    moves towards the middle of the last two pieces. Only white space is changed.

    Args:
        fits: whether one generation can say a text. If a text fits, every part of it should fit too.
        speaker: of all passages.

    Returns the passages in order. One that does not fit is a single character that does not fit.
    """
    found = []
    for paragraph in paragraphs(text):
        ends = _pack(paragraph, 0, len(paragraph), fits)
        for start, end in zip([0, *ends], ends, strict=False):
            found.append(Passage(paragraph[start:end].strip(), end == len(paragraph), speaker))
    return found


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text, which have blank lines between them, each as one line."""
    lines = text.replace("\u2029", "\n\n").splitlines()
    for blank, paragraph in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            yield unwrap("\n".join(paragraph))


def sentence_ends(text: str, start: int, end: int) -> list[int]:
    """Find where sentences of an unwrapped paragraph end. An end lies after the space; the last one is `end`."""
    first = next((character for character in text if character.isupper() or character.islower()), "")
    ends: list[int] = []
    said = _SAID.search(text, start)
    for stop in _STOP.finditer(text, start, end):
        if not said:
            break  # no letter or digit follows: the rest belongs to the last sentence
        if said.start() >= stop.end() or stop.lastgroup == "mark":
            continue
        after = _after_closing(text, start, stop)
        if after < end and _ends_sentence(text, start, stop, after, small=first.islower()):
            start = after + text[after].isspace()
            ends.append(start)
            said = _SAID.search(text, start)
    return [*ends, end]


def _after_closing(text: str, start: int, stop: re.Match[str]) -> int:
    """Find where the closing quotes and brackets end that belong to the sentence before them."""
    if stop.lastgroup == "song":
        return stop.end()
    if stop.group()[-1] not in WIDE_STOPS:
        return _skip(_CLOSING, text, stop.end())
    after = _skip(_WIDE_CLOSING, text, stop.end())
    quotes = text.count('"', max(start, after - 200), after)
    return after + (quotes % 2 and text.startswith('"', after))


def _ends_sentence(text: str, start: int, stop: re.Match[str], after: int, small: bool) -> bool:
    """Whether a sentence ends at a run of stops or after a song.

    Args:
        stop: the match of the run or the song.
        after: where its closing quotes and brackets end.
        small: whether the text begins with a small letter: its writer begins sentences with small letters.
    """
    stops, closed, spaced = stop.group(), after > stop.end(), text[after].isspace()
    ahead = _skip(_BEFORE_WORD, text, after)
    following = text[ahead : ahead + 1]
    if not following or following in _NOT_FIRST or text[max(0, stop.start() - 1)] == "(":
        return False
    sings = "♪" in text[after:ahead]
    if stop.lastgroup == "song":
        return spaced and (sings or following.isupper() or caseless(following))
    if stops[-1] in WIDE_STOPS:
        return text[after] not in _NOT_FIRST and not (closed and not spaced and _QUOTATIVE.match(text, after))
    if len(stops.replace("…", "..")) > 1 and not stops.strip(".…"):
        return spaced and (sings or following.isupper()) and not _hesitates(text, stop.start(), ahead)
    if not spaced and (closed or not (caseless(text[stop.start() - 1]) and caseless(text[after]))):
        return False  # 3.14, example.com; but 你好!再见!
    if following.islower() and not sings and (closed or not small):
        return False
    return stops != "." or not is_abbreviation(text, start, stop.start(), ahead)


def _hesitates(text: str, stop: int, ahead: int) -> bool:
    """Whether the sentence continues with a capital after an ellipsis, as in "I... I" or "Das... Das"."""
    word = next_word(text, ahead)
    return word == "I" or word.casefold() == last_word(text, stop).casefold()


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _cuts(pattern: str) -> Callable[[str, int, int], list[int]]:
    """Make a function that finds where to cut text[start:end]: after each match of the pattern's group `cut`."""
    compiled = re.compile(pattern)

    def cut(text: str, start: int, end: int) -> list[int]:
        found = compiled.finditer(text, start, end)
        return [*(match.end() for match in found if match.lastgroup == "cut" and match.end() < end), end]

    return cut


clause_ends = _cuts(rf"{SONG}|{MARK}|(?P<cut>{_CLAUSE})|{_NO_CLAUSE}")
"""Find where clauses of text[start:end] end; the last end is `end`."""

_LEVELS = (  # where to cut, from the best place to the worst
    sentence_ends,
    clause_ends,
    _cuts(rf"{SONG}|{MARK}|(?P<cut>{_WORD})"),
    _cuts(rf"{MARK}|(?P<cut>{_CLAUSE})|{_NO_CLAUSE}"),
    _cuts(rf"{MARK}|(?P<cut>{_WORD})"),
    _cuts(r"(?P<cut>\s+)"),
    _cuts(rf"(?P<cut>{_CLUSTER})"),
    _cuts(r"(?P<cut>.)"),
)


def _pack(text: str, start: int, end: int, fits: Callable[[str], bool], level: int = 0) -> list[int]:
    """Find where the passages of text[start:end] end. A unit that does not fit is cut at the next level."""
    units = _LEVELS[level](text, start, end)
    bounds, unit = [start], 0
    while unit < len(units):
        count = _how_many_fit(text, bounds[-1], units, unit, fits)
        if count or level + 1 == len(_LEVELS):
            unit += max(1, count)
            bounds.append(units[unit - 1])
            continue
        if len(bounds) > 1 and estimate_seconds(text[bounds[-2] : bounds[-1]]) < SHORT_SECONDS:
            bounds.pop()  # a passage as short as "Well," joins the next, since Bark speaks short texts badly
        *cut, _ = _pack(text, bounds[-1], units[unit], fits, level + 1)
        bounds += cut
        if not fits(text[bounds[-1] : units[unit]].strip()):  # if the rest fits, it is packed with the next units
            bounds.append(units[unit])
            unit += 1
    return _without_tiny_rest(text, bounds, units, fits)[1:]


def _how_many_fit(text: str, start: int, units: list[int], unit: int, fits: Callable[[str], bool]) -> int:
    """Count how many units fit together, from `unit` on. Doubling and then bisecting keeps calls of `fits` few."""
    good, bad, probe = 0, len(units) - unit + 1, 1
    while bad - good > 1:
        if fits(text[start : units[unit + probe - 1]].strip()):
            good = probe
        else:
            bad = probe
        probe = min(2 * good, (good + bad) // 2)
    return good


def _without_tiny_rest(text: str, bounds: list[int], units: list[int], fits: Callable[[str], bool]) -> list[int]:
    """If the last piece is less than half as long as the one before it, move the cut between them to their middle."""
    if len(bounds) < 3 or 2 * (bounds[-1] - bounds[-2]) >= bounds[-2] - bounds[-3]:
        return bounds
    first, second, last = bounds[-3:]
    middle = (first + last) // 2
    at = bisect_left(units, middle)
    for cut in sorted(units[max(0, at - 1) : at + 1], key=lambda cut: abs(cut - middle)):
        if first < cut < second and fits(text[first:cut].strip()) and fits(text[cut:last].strip()):
            return [*bounds[:-2], cut, last]
    return bounds
