"""The words of a file, and what of the file is not among them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby


@dataclass(frozen=True)
class Prose:
    """A text to speak.

    Args:
        text: paragraphs with blank lines between them.
        left_out: what of the file is not in the text, such as "images" -> how many.
        changed: what is written differently, such as "words joined at line ends" -> how many.
        format: of the file.
    """

    text: str
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    format: str = "text"

    @property
    def note(self) -> str:
        """How the file is read, for a person to read: its format, and what is not in the text."""
        parts = [f"read as {self.format}", _listed("left out: ", self.left_out), _listed("changed: ", self.changed)]
        return "; ".join(part for part in parts if part)

    @property
    def is_as_written(self) -> bool:
        """Whether nothing is left out or changed."""
        return not any(self.left_out.values()) and not any(self.changed.values())


def _listed(what: str, counts: Counter[str]) -> str:
    items = ", ".join(f"{name} ({count:,})" for name, count in counts.items() if count)
    return f"{what}{items}" if items else ""


def tidy(text: str) -> str:
    """Remove white space at the ends of lines, and all but one of several blank lines."""
    return "\n".join(_without_blank_runs(line.strip() for line in text.split("\n"))).strip("\n")


def _without_blank_runs(lines: Iterable[str]) -> Iterable[str]:
    for blank, run in groupby(lines, key=lambda line: not line):
        yield from [""] if blank else run
