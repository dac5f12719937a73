"""Tags and text of HTML, SSML and the like, in time that grows with the length of the content and not faster.

It does not build a tree, and refuses nothing: what is not a tag is text. (Python's `html.parser` takes quadratic time
on tags that do not end, in the releases before the summer of 2025.)
"""

import html
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_BEGINNING = re.compile(r"<(?=[A-Za-z/!?])")
# No tag reaches over another "<", so a search that fails ends there.
_TAG = re.compile(r"""</?([A-Za-z][\w:.-]*+)((?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)>|</?([A-Za-z][\w:.-]*+)([^<>]*+)>""")
_DECLARATION = re.compile(r"<(?:![A-Za-z\[-]|\?[A-Za-z])[^<>]*+>")
_ATTRIBUTE = re.compile(r"""([\w:.-]++)\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s"'=<>`]++)""")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


@dataclass(frozen=True)
class Tag:
    """A tag.

    Args:
        name: in small letters.
        closes: whether it is an end tag.
        empty: whether it has no end tag, as it ends with "/>".
        written: its attributes, as they are written.
    """

    name: str
    closes: bool
    empty: bool
    written: str

    def attribute(self, name: str) -> str:
        """Return the value of an attribute, or ""."""
        value = next((value for found, value in _ATTRIBUTE.findall(self.written) if found.lower() == name), "")
        return unescape(value[1:-1] if value.startswith(('"', "'")) else value)


@dataclass(frozen=True)
class Comment:
    """A comment, a declaration or an instruction, which says nothing."""


def unescape(text: str) -> str:
    """Replace the entities of HTML, such as `&amp;` and `&#8217;`, by their characters."""
    return unescaped(text)[0]


def unescaped(text: str) -> tuple[str, int]:
    """As `unescape`; also return how many entities there were."""
    return _ENTITY.subn(lambda match: html.unescape(match.group()), text)


def parts(content: str, raw: Collection[str] = ()) -> Iterator[str | Tag | Comment]:
    """Divide content into text, with its entities replaced, and tags.

    Args:
        raw: names of elements that hold no tags, such as `script`. What is in them is left out.
    """
    at = written = 0  # everything before `written` has been yielded
    endless: set[str] = set()  # ends that do not occur any more
    while begins := _BEGINNING.search(content, at):
        start = begins.start()
        found, end = _construct(content, start, endless)
        if found is None:
            at = start + 1
            continue
        if start > written:
            yield unescape(content[written:start])
        yield found
        at = written = end
        if isinstance(found, Tag) and found.name in raw and not found.closes:
            ending = re.compile(rf"</{re.escape(found.name)}(?![\w:.-])", re.IGNORECASE).search(content, end)
            at = written = ending.start() if ending else len(content)
    if written < len(content):
        yield unescape(content[written:])


def _construct(content: str, start: int, endless: set[str]) -> tuple[str | Tag | Comment | None, int]:
    """Return what begins at a "<", and where it ends; None if it is only text.

    Args:
        endless: ends of comments and the like that do not occur from here on.
    """
    if match := _TAG.match(content, start):
        name, attributes = match.group(1) or match.group(3), match.group(2) or match.group(4) or ""
        closes = content.startswith("</", start)
        return Tag(name.lower(), closes, attributes.endswith("/"), attributes), match.end()
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>")):
        if content.startswith(opening, start) and closing not in endless:
            stop = content.find(closing, start + len(opening))
            if stop >= 0:
                inside = content[start + len(opening) : stop]
                return (Comment() if opening == "<!--" else inside), stop + len(closing)
            endless.add(closing)
    match = _DECLARATION.match(content, start)
    return (Comment(), match.end()) if match else (None, start)
