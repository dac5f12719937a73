"""Reads the README, the pages of docs/ and that of examples/: headings, links, fenced blocks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EXAMPLES_PAGE = ROOT / "examples" / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), EXAMPLES_PAGE]

_FENCE = re.compile(r"^```(\S*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run: \S.* -->$")
_HEADING = re.compile(r"^#{1,6} (.+)$")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_SHELL_OPERATORS = re.compile(r"[|&;<>]+")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the number of its first line, and whether a comment before it says "not run"."""

    language: str
    line: int
    code: str
    not_run: bool


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path
    blocks: list[Block]
    prose: str

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Raises ValueError for a block that does not end."""
        lines = path.read_text(encoding="utf-8").splitlines()
        blocks, prose = [], []
        start: int | None = None
        for number, line in enumerate(lines):
            fence = _FENCE.match(line)
            if start is None and fence is None:
                prose.append(line)
            elif start is None:
                start = number
            elif line == "```":
                language = lines[start].removeprefix("```").strip()
                not_run = start > 0 and _NOT_RUN.match(lines[start - 1]) is not None
                blocks.append(Block(language, start + 2, "\n".join(lines[start + 1 : number]), not_run))
                start = None
        if start is not None:
            raise ValueError(f"{path}: the block that begins in line {start + 1} does not end")
        return cls(path, blocks, "\n".join(prose))

    def blocks_of(self, language: str) -> list[Block]:
        return [block for block in self.blocks if block.language == language]

    @property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        found: list[str] = []
        for line in self.prose.splitlines():
            heading = _HEADING.match(line)
            if heading:
                words = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
                found.append(f"{words}-{found.count(words)}" if words in found else words)
        return set(found)

    @property
    def links(self) -> list[str]:
        """The targets of all links and images."""
        return _LINK.findall(self.prose)

    @property
    def inline_code(self) -> list[str]:
        return _CODE.findall(self.prose)

    @property
    def commands(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and words of every command in the console blocks: the lines that begin with `$ `."""
        for block in self.blocks_of("console"):
            for number, line in enumerate(block.code.splitlines(), block.line):
                if line.startswith("$ "):
                    for words in split_commands(line[2:]):
                        yield number, words


def split_commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a shell line, without comments and without the operators between them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if _SHELL_OPERATORS.fullmatch(word):
            yield words
            words = []
        else:
            words.append(word)
    yield words
