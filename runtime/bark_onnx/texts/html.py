"""The words of a web page.

The rule: tags, scripts, styles, comments, images, navigation, forms and the page's head are left out. Block elements
(paragraphs, headings, list items, table rows) become paragraphs, and cells of a table are separated by commas. In text
without any block element, line ends are kept. Marks of footnotes, which are superscript links, and the readings above
Japanese characters (`rt`) are left out.
"""

import re
from collections import Counter

from .markup import Comment, Tag, parts
from .prose import Prose, tidy

BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu ol p pre section summary table tbody tfoot thead tr "
    "ul".split()
)
_RAW = frozenset("script style textarea title iframe noembed noframes xmp".split())
_SKIPPED = {  # elements whose content is left out -> how the note calls them
    **dict.fromkeys(("head", "template", "noscript"), "invisible parts"),
    **dict.fromkeys(("svg", "math", "canvas", "object", "audio", "video", "map", "picture"), "pictures and media"),
    **dict.fromkeys(("nav", "button", "select", "datalist", "dialog"), "navigation and buttons"),
    **dict.fromkeys(("rt", "rp"), "readings of characters"),
}
_RAW_NAMES = {"script": "scripts", "style": "styles"}
_CLOSING = re.compile(rf"</({'|'.join(_SKIPPED)})(?![\w:.-])", re.IGNORECASE)
_BLOCK = re.compile(rf"<(?:{'|'.join(BLOCKS)})(?![\w:.-])", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_MARK = re.compile(r"\W{0,3}(?:\d{1,3}|[a-z]|[*†‡]+)\W{0,3}")


def read_html(content: str) -> Prose:
    """Return the words of a page or of a part of one."""
    reader = _Reader(content)
    for part in parts(content, _RAW):
        reader.read(part)
    return Prose(tidy("".join(reader.out)), reader.left_out)


class _Reader:
    """Collects the text of a page, part by part."""

    def __init__(self, content: str) -> None:
        self.out: list[str] = []
        self.left_out: Counter[str] = Counter()
        self._keeps_lines = not _BLOCK.search(content)
        # How many end tags are still to come. An element without one does not hide the rest of the page.
        self._ends = Counter(match.group(1).lower() for match in _CLOSING.finditer(content))
        self._skipped = ""  # the element that is left out
        self._depth = 0  # of elements of that name
        self._preformatted = self._links = 0
        self._cell_has_text = False  # of the cells of a row that were read last
        self._superscript: int | None = None  # where a superscript begins
        self._marks_footnote = False

    def read(self, part: str | Tag | Comment) -> None:
        if isinstance(part, Tag):
            self._count_end(part)
            if self._skipped:
                self._skip(part)
            else:
                self._read_tag(part)
        elif self._skipped:
            return
        elif isinstance(part, Comment):
            self.left_out["comments"] += 1
        else:
            self._cell_has_text |= not part.isspace()
            self.out.append(part if self._preformatted or self._keeps_lines else _SPACE.sub(" ", part))

    def _count_end(self, tag: Tag) -> None:
        if tag.closes and tag.name in _SKIPPED:
            self._ends[tag.name] -= 1

    def _skip(self, tag: Tag) -> None:
        if tag.name == self._skipped and not tag.empty:
            self._depth += -1 if tag.closes else 1
            if not self._depth or not self._ends[tag.name]:
                self._skipped = ""

    def _read_tag(self, tag: Tag) -> None:
        name = tag.name
        if name in _SKIPPED and not tag.closes:
            self.left_out[_SKIPPED[name]] += 1
            self.out.append("\n\n" if name == "nav" else "")
            if not tag.empty and self._ends[name] > 0:
                self._skipped, self._depth = name, 1
            return
        if name in _RAW_NAMES and not tag.closes:
            self.left_out[_RAW_NAMES[name]] += 1
        elif name == "img":
            self.left_out["images"] += 1
        else:
            self.left_out["tags"] += not tag.closes
        if name in ("td", "th"):
            if self._cell_has_text and not tag.closes:
                self.out.append(", ")
                self._cell_has_text = False
        elif name == "sup":
            self._read_superscript(tag)
        elif name == "br":
            self.out.append("\n")
        elif name == "a":
            self._links = max(0, self._links + (-1 if tag.closes else 1))
            self._marks_footnote |= self._superscript is not None
        elif name in BLOCKS:
            self._read_block(tag)

    def _read_block(self, tag: Tag) -> None:
        self.out.append("\n\n")
        self._links, self._cell_has_text = 0, False
        if tag.name == "pre":
            self._preformatted = max(0, self._preformatted + (-1 if tag.closes else 1))

    def _read_superscript(self, tag: Tag) -> None:
        if not tag.closes:
            self._superscript, self._marks_footnote = len(self.out), self._links > 0
        elif self._superscript is not None:
            text = "".join(self.out[self._superscript :]).strip()
            if self._marks_footnote and _MARK.fullmatch(text):
                del self.out[self._superscript :]
                self.left_out["footnote marks"] += 1
            self._superscript = None
