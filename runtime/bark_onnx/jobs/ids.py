"""The ids of rows, which become the names of files on any file system."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import BarkError, shown

LONGEST_NAME = 255  # bytes of a file's name on most file systems
LONGEST_SUFFIX = 5  # of an audio file: `.flac`
_FORBIDDEN = '/\\:*?"<>|'  # on Windows, and the separators of paths elsewhere
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?")  # devices of Windows


def check_id(name: str) -> str:
    """Return an id. Raises BarkError that says why it cannot be the name of a file."""
    if not name:
        raise BarkError("the id is empty")
    bad = next((c for c in name if c in _FORBIDDEN or not c.isprintable() or unicodedata.category(c)[0] == "C"), None)
    if bad is not None:
        said = f"{bad!r}" if bad in _FORBIDDEN else f"U+{ord(bad):04X}, which is not printable"
        raise BarkError(f"the id {_quoted(name)} has {said}: an id is the name of a file")
    if name != name.strip():
        raise BarkError(f"the id {_quoted(name)} begins or ends with a space")
    if name.startswith("."):
        raise BarkError(f"the id {_quoted(name)} begins with a dot, which makes hidden files")
    if _RESERVED.fullmatch(name.casefold()):
        raise BarkError(f"the id {_quoted(name)} is the name of a device on Windows")
    longest = max(len(unicodedata.normalize(form, name).encode()) for form in ("NFC", "NFD"))
    if longest > LONGEST_NAME - LONGEST_SUFFIX:
        raise BarkError(
            f"the id {_quoted(name)} has {longest} bytes, and a file's name at most {LONGEST_NAME - LONGEST_SUFFIX}"
        )
    return name


def folded(name: str) -> str:
    """What is the same for two ids that are one file where case or Unicode's normal form makes no difference.

    This is Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145).
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class Collisions:
    """Finds ids that would be one file. It keeps 8 bytes for each id, so millions fit in memory."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def add(self, name: str) -> None:
        """Add the id of a row."""
        self._hashes.append(_hash(name))

    def check(self, rows: Iterable[tuple[int, str]]) -> None:
        """Raise a BarkError that names two ids that collide, if any do.

        Args:
            rows: line and id of the same rows again. It is read only if hashes are the same.
        """
        hashes = np.sort(np.frombuffer(self._hashes, np.uint64))
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not suspects:
            return
        found = list(_collisions((line, name) for line, name in rows if _hash(name) in suspects))
        if found:
            (line, name), (other_line, other) = found[0]
            more = f" ({len(found)} ids collide)" if len(found) > 1 else ""
            which = "the same id" if name == other else "ids that are one file where case or normal form do not count"
            raise BarkError(
                f"lines {line} and {other_line} have {which}: {_quoted(name)}, {_quoted(other)}{more}; "
                "give each row an id of its own"
            )


def _collisions(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    first: dict[str, tuple[int, str]] = {}
    for line, name in rows:
        before = first.setdefault(folded(name), (line, name))
        if before[0] != line:
            yield before, (line, name)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(folded(name).encode(), digest_size=8).digest())


def _quoted(name: str) -> str:
    return shown(name if len(name) <= 60 else f"{name[:57]}...")
