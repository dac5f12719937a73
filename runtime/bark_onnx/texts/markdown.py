"""The words of Markdown (CommonMark, with tables, footnotes and front matter).

The rule: front matter, code blocks, images, comments, tags, horizontal lines, addresses of links, marks of footnotes
and all other marks are left out. Headings, list items and rows of tables become paragraphs; cells of a table are
separated by commas. The numbers of a list stay. Bark's own marks, such as [laughs], stay.

This file divides the text into blocks, line by line; `inline` removes the marks inside a block.
"""

import re
from collections import Counter

from .inline import plain_words
from .prose import Prose, tidy

_FENCE = re.compile(r"(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)")
_HEADING = re.compile(r"#{1,6}(?:\s+(?P<text>.*))?")
_CLOSING_MARKS = re.compile(r"(?<=\s)#+$")
_LINE = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*){2,}")
_UNDERLINE = re.compile(r"=+|-{2,}")
_QUOTE = re.compile(r"(?:>[ \t]?)+")
_ITEM = re.compile(r"(?:[-*+]|(?P<number>\d{1,9}[.)]))\s+(?:\[[ xX]\]\s+)?(?=\S)")
_DEFINITION = re.compile(r"\[(?P<name>[^\[\]^][^\[\]]{0,200})\]:\s*(?:<[^<>]*>|\S+)(?:\s+[\"'(].*)?")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,100}\]:\s*")
_TABLE_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
_CELLS = re.compile(r"(?<!\\)\|")
_ALERT = re.compile(r"\[!\w{1,20}\]")
_FRONT = {"---": ("---", "..."), "+++": ("+++",)}


def read_markdown(content: str) -> Prose:
    """Return the words of a document."""
    lines = [line.expandtabs(4) for line in content.split("\n")]
    reader = _Reader(lines)
    at = reader.skip_front_matter()
    while at < len(lines):
        at = reader.read(at)
    reader.end_block()
    return Prose(tidy("\n\n".join(reader.blocks)), reader.left_out)


class _Reader:
    """Collects the blocks of a document, line by line.

    Args:
        lines: of the document.
    """

    def __init__(self, lines: list[str]) -> None:
        self.blocks: list[str] = []
        self.left_out: Counter[str] = Counter()
        self._lines = lines
        self._block: list[str] = []  # the lines of the block so far
        self._in_list = self._in_table = False
        definitions = (_DEFINITION.fullmatch(line.strip()) for line in lines)
        self._targets = {" ".join(found["name"].casefold().split()) for found in definitions if found}
        self._last_comment = max((n for n, line in enumerate(lines) if "-->" in line), default=-1)

    def skip_front_matter(self) -> int:
        """Return the number of the first line after the front matter."""
        ends = _FRONT.get(self._lines[0].rstrip(), ())
        end = next((n for n, line in enumerate(self._lines[1:], 1) if line.rstrip() in ends), 0) if ends else 0
        if end < 2 or not any(":" in line or "=" in line for line in self._lines[1:end]):
            return 0
        self.left_out["lines of front matter"] += end - 1
        return end + 1

    def end_block(self) -> None:
        """Add the block to the blocks."""
        words = plain_words("\n".join(self._block), self._targets, self.left_out).strip()
        if words:
            self.blocks.append(words)
        self._block = []

    def read(self, at: int) -> int:
        """Read a line and what belongs to it. Returns the number of the next line."""
        written = self._lines[at]
        quote = _QUOTE.match(written.lstrip())
        line = written.lstrip()[quote.end() :].strip() if quote else written.strip()
        if not line:
            self.end_block()
            self._in_table = False
            return at + 1
        item = _ITEM.match(line)
        if fence := _FENCE.fullmatch(line, item.end() if item else 0):
            return self._skip_code(at, fence["marks"])
        if written.startswith("    ") and not self._block and not self._in_list:
            self.left_out["lines of code"] += 1
            return at + 1
        if "<!--" in line and "-->" not in line.partition("<!--")[2] and at < self._last_comment:
            return self._skip_comment(at, line)
        if not self._read_alone(at, line) and not self._read_table(at, line):
            self._read_words(written, line)
        return at + 1

    def _skip_code(self, at: int, marks: str) -> int:
        self.end_block()
        for number in range(at + 1, len(self._lines)):
            line = self._lines[number].lstrip(" >").rstrip()
            if line.startswith(marks) and not line.strip(marks[0]):
                self.left_out["lines of code"] += number - at - 1
                return number + 1
        self.left_out["lines of code"] += len(self._lines) - at - 1
        return len(self._lines)

    def _skip_comment(self, at: int, line: str) -> int:
        self.left_out["comments"] += 1
        self._block += filter(None, [line.partition("<!--")[0].strip()])
        end = next(number for number in range(at + 1, len(self._lines)) if "-->" in self._lines[number])
        self._lines[end] = self._lines[end].partition("-->")[2]
        return end

    def _read_alone(self, at: int, line: str) -> bool:
        """Read a line that is a block by itself; False if it is not."""
        if heading := _HEADING.fullmatch(line):
            self._add(_CLOSING_MARKS.sub("", heading["text"] or ""))
            self.left_out["marks"] += 1
        elif _LINE.fullmatch(line) or (self._block and _UNDERLINE.fullmatch(line) and not self._in_table):
            self.end_block()  # in the second case the block is a heading
            self.left_out["marks"] += 1
        elif not self._block and _DEFINITION.fullmatch(line):
            self.left_out["addresses of links"] += 1
        elif _ALERT.fullmatch(line):
            self.left_out["marks"] += 1
        else:
            return False
        self._in_list = False
        return True

    def _read_table(self, at: int, line: str) -> bool:
        if not self._in_table:
            following = self._lines[at + 1].strip() if at + 1 < len(self._lines) else ""
            self._in_table = "|" in line and "|" in following and bool(_TABLE_RULE.fullmatch(following))
        if self._in_table and _TABLE_RULE.fullmatch(line):
            self.left_out["marks"] += 1
        elif self._in_table:
            cells = (cell.strip() for cell in _CELLS.split(line))
            self._add(", ".join(cell for cell in cells if cell))
        return self._in_table

    def _read_words(self, written: str, line: str) -> None:
        if item := _ITEM.match(line):
            self.end_block()
            self._in_list = True
            number = item["number"]
            line = line[item.end() :]
            self.left_out["marks"] += not number
            line = f"{number} {line}" if number else line
        elif note := _FOOTNOTE.match(line):
            self.end_block()
            self.left_out["footnote marks"] += 1
            line = line[note.end() :]
        elif not written.startswith(" ") and not self._block:
            self._in_list = False
        self._block.append(line)

    def _add(self, block: str) -> None:
        """Add a block of one line."""
        self.end_block()
        self._block = [block]
        self.end_block()
