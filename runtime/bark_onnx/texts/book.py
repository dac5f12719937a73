"""The words of plain text, as books have it.

The rule: words that are hyphenated at line ends are joined; headings are set apart from the text below them; marks of
footnotes, underscores around words, page numbers in brackets and [Illustration] are left out, and so are the licence,
the header and the footer of Project Gutenberg. Entities of HTML, such as &amp;, become characters. Nothing else
changes.
"""

import re
from collections import Counter
from itertools import pairwise

from .markup import unescaped
from .prose import Prose

HEADING_LENGTH = 60  # characters; a longer line is text
CREDIT_LINES = 6  # of the paragraph that names who produced the file, at most

_GUTENBERG_START = re.compile(
    r"\s{0,9}\*{3}\s?START OF (?:THE|THIS) PROJECT GUTENBERG|\s{0,9}\*END\*?\s?THE SMALL PRINT", re.I
)
_GUTENBERG_END = re.compile(
    r"\s{0,9}\*{3}\s?END OF (?:THE|THIS) PROJECT GUTENBERG|\s{0,9}End of (?:the |this )?Project Gutenberg", re.I
)
_CREDITS = re.compile(
    r"\s{0,9}(?:Produced by|E-?text prepared by|Transcribed (?:from|by)|Credits:|This e-?(?:book|text) was produced)",
    re.I,
)
_BROKEN = re.compile(r"(?<!\w)([^\W_]++)(?:[-‐]|\u00ad)[ \t]*+\n[ \t]*+([^\W\d_]\w*+)")
_WORDS = re.compile(r"\w++(?:-\w++)*+")
_LEFT_OUT = {
    "footnote marks": re.compile(
        r"[ \t]?\[(?:\d{1,3}|[*†‡]{1,3})\](?!\()|(?:(?<=[.,;:!?”’\"')\]])|(?<=[^\W\d_]{4}))[⁰¹²³⁴-⁹]{1,3}|[†‡]{1,3}"
    ),
    "page numbers": re.compile(r"\[(?:Pg|Page|p\.) ?\d{1,4}\]|(?<![\w@])\{\d{1,4}\}(?!\w)"),
    "illustrations": re.compile(r"\[Illustration(?::[^\[\]]{0,500})?\]"),
    "underscores": re.compile(r"(?<![\w_])_(?=[^\W_])|(?<=[^\s_])_(?![\w_])"),
}
_NUMBER = r"(?:[IVXLCDM]{1,9}|\d{1,4}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|the first)"
_CHAPTER = re.compile(
    r"(?:chapter|kapitel|chapitre|cap[ií]tulo|capitolo|rozdział|глава|bölüm|part|teil|partie|parte|część|часть|book|"
    rf"buch|livre|libro|volume|section|act|scene|stave|letter)\s{{1,3}}{_NUMBER}(?:[.:—–-].{{0,60}}|\s{{0,3}})",
    re.I,
)
_TITLED = re.compile(
    r"(?:preface|prologue|epilogue|introduction|contents|foreword|afterword|appendix|conclusion|vorwort|prolog|epilog|"
    r"préface|épilogue|prefacio|prólogo|epílogo|prefazione|предисловие|эпилог|пролог|önsöz)[.:]?",
    re.I,
)
_NUMBERED = re.compile(r"(?:[IVXLCDM]{1,9}|\d{1,3})\.?")


def read_book(content: str) -> Prose:
    """Return the words of a plain text."""
    left_out: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    text = without_gutenberg(content, left_out)
    if "&" in text:
        text, changed["entities"] = unescaped(text)
    for name, pattern in _LEFT_OUT.items():
        text, left_out[name] = pattern.subn("", text)
    text = _joined(text, changed)
    return Prose(_headings_apart(text, changed), left_out, changed)


def without_gutenberg(text: str, left_out: Counter[str]) -> str:
    """Leave out the licence, the header and the footer of Project Gutenberg.

    Args:
        left_out: counts the lines.
    """
    if "gutenberg" not in text.casefold() and "SMALL PRINT" not in text:
        return text
    lines = text.split("\n")
    start = next((number + 1 for number, line in enumerate(lines) if _GUTENBERG_START.match(line)), 0)
    if start and not lines[start - 1].rstrip().endswith("***"):  # the title may go on in the next line
        start = next(
            (n + 1 for n in range(start, min(start + 3, len(lines))) if lines[n].rstrip().endswith("***")), start
        )
    end = next((n for n in range(len(lines) - 1, start - 1, -1) if _GUTENBERG_END.match(lines[n])), len(lines))
    while end > start and (earlier := _footer_before(lines, start, end)) < end:
        end = earlier
    start = _after_credits(lines, start, end) if start else 0
    left_out["lines of Project Gutenberg's header and licence"] += start + len(lines) - end
    return "\n".join(lines[start:end])


def _footer_before(lines: list[str], start: int, end: int) -> int:
    """Return where an earlier line of the footer is, among the ten lines before it; `end` if there is none."""
    return next((n for n in range(max(start, end - 10), end) if _GUTENBERG_END.match(lines[n])), end)


def _after_credits(lines: list[str], start: int, end: int) -> int:
    """Return where the book begins after the paragraph that names who produced the file."""
    first = next((n for n in range(start, end) if lines[n].strip()), end)
    if first < end and _CREDITS.match(lines[first]):  # a longer paragraph belongs to the book
        return next((n for n in range(first, min(end, first + CREDIT_LINES + 1)) if not lines[n].strip()), start)
    return start


def _joined(text: str, changed: Counter[str]) -> str:
    """Join words that are hyphenated at line ends.

    The hyphen stays if the text has the same word with a hyphen inside a line, or if a capital follows.
    """
    if not _BROKEN.search(text):
        return text
    words = set(_WORDS.findall(text.casefold()))

    def join(match: re.Match[str]) -> str:
        first, second = match.groups()
        hyphenated = f"{first}-{second}"
        changed["words joined at line ends"] += 1
        keeps = second[0].isupper() or (hyphenated.casefold() in words and f"{first}{second}".casefold() not in words)
        return hyphenated if keeps else f"{first}{second}"

    return _BROKEN.sub(join, text)


def _headings_apart(text: str, changed: Counter[str]) -> str:
    """Put a blank line below headings. The lines of a heading in capitals stay together."""
    lines = text.split("\n")
    out: list[str] = []
    heads = True  # whether only headings come between the last blank line and this one
    for line, following in pairwise([*map(str.strip, lines), ""]):
        out.append(line)
        heads = not line or (heads and _is_heading(line))
        if line and heads and following and (_is_numbered(line) or not _is_heading(following)):
            out.append("")
            changed["headings set apart"] += 1
    return "\n".join(out)


def _is_heading(line: str) -> bool:
    """Whether a line that begins a paragraph is a heading: it names or numbers a chapter, or is all in capitals."""
    if len(line) > HEADING_LENGTH or line[-1] in ",;-–—":
        return False
    return _is_numbered(line) or (line.isupper() and sum(map(str.isalpha, line)) > 2)


def _is_numbered(line: str) -> bool:
    return any(pattern.fullmatch(line) for pattern in (_CHAPTER, _TITLED, _NUMBERED))
