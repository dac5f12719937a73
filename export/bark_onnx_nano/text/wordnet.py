"""Read sentences and words from WordNet (package `wordnet-base`)."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .words import words_of

WORDNET = Path("/usr/share/wordnet")
_PARTS = ("noun", "verb", "adj", "adv")
_MINIMUM_USES = 5  # of a word in the glosses, to be in the vocabulary
_PLAIN = re.compile(r"[A-Za-z0-9 ,.;:?!'$%&()-]+")


def examples(directory: Path = WORDNET) -> list[str]:
    """Return the quoted examples of the glosses, sorted, each once."""
    found = {_clean(match) for gloss in _glosses(directory) for match in re.findall(r'"([^"]+)"', gloss)}
    return sorted(text for text in found if _speakable(text))


def definitions(directory: Path = WORDNET) -> list[str]:
    """Return the definitions of the glosses without remarks in parentheses, sorted, each once."""
    found = {_clean(re.sub(r"\([^)]*\)", "", gloss.split('"')[0])) for gloss in _glosses(directory)}
    return sorted(text for text in found if _speakable(text) and len(text) > 20)


def words(directory: Path = WORDNET) -> list[str]:
    """Return the single words of 3 to 12 letters that WordNet lists, sorted, each once."""
    lines = [line for part in _PARTS for line in _lines(directory / f"index.{part}")]
    return sorted({line.split()[0] for line in lines if re.match(r"[a-z]{3,12} ", line)})


def vocabulary(directory: Path = WORDNET) -> list[str]:
    """Return the words of four letters and more that the glosses use at least five times, sorted, each once."""
    uses = Counter(word for text in examples(directory) + definitions(directory) for word in words_of(text))
    return sorted(word for word, count in uses.items() if count >= _MINIMUM_USES and re.fullmatch("[a-z]{4,}", word))


def _glosses(directory: Path) -> Iterator[str]:
    for part in _PARTS:
        yield from (line.split(" | ", 1)[1] for line in _lines(directory / f"data.{part}"))


def _lines(path: Path) -> list[str]:
    """Return the lines of one of WordNet's files without the licence at its top."""
    return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line[:1] != " "]


def _clean(text: str) -> str:
    text = " ".join(text.replace("`", "'").replace("--", ", ").split())
    return re.sub(r" ([,.;:?!])", r"\1", text).strip(" .;:,-'")


def _speakable(text: str) -> bool:
    return 8 < len(text) < 110 and _PLAIN.fullmatch(text) is not None and text[0].isalnum()
