"""The words of SSML, the markup of speech synthesis (W3C, version 1.1).

The rule: tags, metadata and comments are left out. Bark chooses voice, pitch and speed itself, so `voice`, `prosody`,
`emphasis` and the like only lose their tags. `p` and `break` make a paragraph, if the break is strong or lasts at least
half a second; other breaks are left out. `sub` is read as its alias.
"""

import re
from collections import Counter

from .markup import Comment, Tag, parts
from .prose import Prose, tidy

LONG_BREAK = 0.5  # seconds
_SKIPPED = frozenset({"metadata", "desc", "lexicon", "meta", "mark"})
_SPACE = re.compile(r"\s+")
_TIME = re.compile(r"\+?(\d{0,6}(?:\.\d{0,6})?)\s?(ms|s)")
_CLOSING = re.compile(r"</(metadata|desc|lexicon|meta|mark|sub)\s*>", re.IGNORECASE)


def read_ssml(content: str) -> Prose:
    """Return the words of a document."""
    out: list[str] = []
    left_out: Counter[str] = Counter()
    ends = Counter(match.group(1).lower() for match in _CLOSING.finditer(content))
    inside = ""  # the element whose content is not read
    for part in parts(content):
        if isinstance(part, Comment):
            left_out["comments"] += 1
        elif isinstance(part, str):
            out.append("" if inside else _SPACE.sub(" ", part))
        elif part.closes:
            ends[part.name] -= 1
            inside = "" if part.name == inside else inside
            out.append("\n\n" if _local(part) in ("p", "paragraph", "speak") else "")
        elif not inside:
            out.append(_opened(part, left_out))
            replaced = part.name == "sub" and part.attribute("alias")
            if (part.name in _SKIPPED or replaced) and not part.empty and ends[part.name] > 0:
                inside = part.name
    return Prose(tidy("".join(out)), left_out)


def _opened(tag: Tag, left_out: Counter[str]) -> str:
    """Return what a start tag becomes in the text, and count it."""
    name = _local(tag)
    if name == "break":
        long = _is_long(tag)
        left_out["short breaks"] += not long
        return "\n\n" if long else " "
    left_out["tags"] += 1
    if name in ("p", "paragraph", "speak"):
        return "\n\n"
    return tag.attribute("alias") if name == "sub" else ""


def _local(tag: Tag) -> str:
    return tag.name.rpartition(":")[2]


def _is_long(tag: Tag) -> bool:
    """Whether a break is strong, or lasts at least LONG_BREAK."""
    time = _TIME.fullmatch(tag.attribute("time").strip().lower())
    if time is None or not time.group(1).strip("."):
        return tag.attribute("strength") in ("strong", "x-strong")
    return float(time.group(1)) * (0.001 if time.group(2) == "ms" else 1) >= LONG_BREAK
