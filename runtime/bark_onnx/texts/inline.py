"""The marks of Markdown inside a block: code, links, images, footnotes, tags and emphasis.

All patterns are bounded, so that the time grows with the length of the text and not faster.
"""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection

from .markup import Comment, Tag, parts

_ADDRESS = r"(?:<[^<>\n]{0,2000}>|[^()\s<]{0,2000}(?:\([^()\s]{0,500}\)[^()\s]{0,500})?)"
_TITLE = r"(?:\s{1,9}(?:\"[^\"]{0,500}\"|'[^']{0,500}'))?\s{0,9}"
_IMAGE = re.compile(rf"!\[[^\[\]]{{0,1000}}\](?:\(\s{{0,9}}{_ADDRESS}{_TITLE}\)|\[[^\[\]]{{0,200}}\])")
_LINK = re.compile(rf"\[([^\[\]]{{0,1000}})\]\(\s{{0,9}}{_ADDRESS}{_TITLE}\)")
_REFERENCE = re.compile(r"\[([^\[\]]{1,200})\](?:\[([^\[\]]{0,200})\])?(?![(\[])")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,100}\]")
_AUTOLINK = re.compile(r"<((?:https?|ftp|mailto):[^<>\s]{1,2000}|[\w.+-]{1,100}@[\w.-]{1,200})>")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_TICKS = re.compile(r"`+")
_RUN = re.compile(r"\*+|_+|~~+")
_RAW = ("script", "style")

# While marks are removed, characters that are not marks are written with others, which no text has.
_PRIVATE = 0xF0000
_HIDE = {code: code + _PRIVATE for code in range(33, 127)}
_SHOW = {hidden: code for code, hidden in _HIDE.items()}


def plain_words(text: str, targets: Collection[str], left_out: Counter[str]) -> str:
    """Return a block without marks.

    Args:
        targets: the names of links that are defined somewhere in the document, in small letters.
        left_out: counts what is left out.
    """
    text = _ESCAPE.sub(lambda match: match.group(1).translate(_HIDE), _without_ticks(text, left_out))
    text = text.replace("\\\n", "\n")  # a line end that stays
    text = _AUTOLINK.sub(lambda match: match.group(1).translate(_HIDE), text)
    for pattern, name in ((_IMAGE, "images"), (_FOOTNOTE, "footnote marks")):
        text, count = pattern.subn("", text)
        left_out[name] += count
    text, count = _LINK.subn(r"\1", text)
    left_out["addresses of links"] += count
    if targets:
        text = _REFERENCE.sub(lambda match: _named_link(match, targets), text)
    words = []
    for part in parts(text, _RAW):
        if isinstance(part, str):
            words.append(part)
        else:
            left_out["comments"] += isinstance(part, Comment)
            left_out["tags"] += isinstance(part, Tag)
            words.append("\n" if isinstance(part, Tag) and part.name == "br" else "")
    return _without_emphasis("".join(words), left_out).translate(_SHOW)


def _named_link(match: re.Match[str], targets: Collection[str]) -> str:
    name = " ".join((match.group(2) or match.group(1)).casefold().split())
    return match.group(1) if name in targets else match.group()


def _without_ticks(text: str, left_out: Counter[str]) -> str:
    """Remove the marks around code in a line. A run of backticks ends at the next run of the same length."""
    runs = list(_TICKS.finditer(text))
    starts: defaultdict[int, list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        starts[len(run.group())].append(number)
    out, at, number = [], 0, 0
    while number < len(runs):
        same = starts[len(runs[number].group())]
        place = bisect_right(same, number)
        if place == len(same):
            number += 1
            continue
        opening, closing = runs[number], runs[same[place]]
        out += [text[at : opening.start()], text[opening.end() : closing.start()].translate(_HIDE)]
        left_out["marks"] += 2
        at, number = closing.end(), same[place] + 1
    return "".join([*out, text[at:]])


def _without_emphasis(text: str, left_out: Counter[str]) -> str:
    """Remove marks of emphasis that belong together; others stay, as in 5 * 3 and snake_case."""
    runs = list(_RUN.finditer(text))
    left = [len(run.group()) for run in runs]
    opened: defaultdict[str, list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        opens, closes = _flanks(text, run)
        stack = opened[run.group()[0]]
        while closes and left[number] and stack:
            together = min(left[number], left[stack[-1]])
            left[number] -= together
            left[stack[-1]] -= together
            if not left[stack[-1]]:
                stack.pop()
        if opens and left[number]:
            stack.append(number)
    out, at = [], 0
    for run, length in zip(runs, left, strict=True):
        out += [text[at : run.start()], run.group()[:length]]
        left_out["marks"] += length < len(run.group())
        at = run.end()
    return "".join([*out, text[at:]])


def _flanks(text: str, run: re.Match[str]) -> tuple[bool, bool]:
    """Whether a run of marks can begin emphasis, and whether it can end it (CommonMark, section 6.2)."""
    before, after = text[run.start() - 1 : run.start()] or " ", text[run.end() : run.end() + 1] or " "
    if before.isdigit() and after.isdigit():
        return False, False
    left = not after.isspace() and (after.isalnum() or not before.isalnum())
    right = not before.isspace() and (before.isalnum() or not after.isalnum())
    if run.group()[0] != "_":
        return left, right
    return left and (not right or not before.isalnum()), right and (not left or not after.isalnum())
