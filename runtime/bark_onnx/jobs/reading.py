"""Reading the rows of a batch job from JSON lines, CSV or Parquet, one after another.

A row that cannot be read is a record with an error, and reading goes on. A file that is not what its suffix says is a
BarkError.
"""

import csv
import json
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ..errors import BarkError, reason
from ..texts.formats import refuse_binary
from .parquet import read_parquet
from .row import Columns, Record

MOST_LINE = 16 << 20  # bytes of a line of JSON
_SEEN = 1 << 12  # bytes of a file by which its kind is recognised

Skip: TypeAlias = Callable[[int], bool]
"""Whether the row at a line is not needed. Such a row is not parsed, if that can be avoided."""


def read_rows(source: Path, columns: Columns, skip: Skip = lambda line: False) -> Iterator[Record]:
    """Read the rows of a file lazily: by lines, or for Parquet by batches of a row group.

    Args:
        source: `.jsonl` or `.ndjson`, `.csv` or `.tsv`, or `.parquet`.
        columns: which ones are read.
        skip: rows for which this is true are left out. It is asked once for each row, in order.

    Raises BarkError if the file cannot be read or is not what its suffix says.
    """
    suffix = source.suffix.lower()
    if suffix not in _READERS:
        raise BarkError(f"{source}: rows are read from {', '.join(_READERS)}; rename or convert the file")
    try:
        yield from _READERS[suffix](source, columns, skip)
    except OSError as error:
        raise BarkError(f"{source} cannot be read: {reason(error)}") from None


def check_source(source: Path) -> None:
    """Raise a BarkError if a path is not a plain file, such as a pipe: the rows are read more than once."""
    try:
        mode = source.stat().st_mode
    except (OSError, ValueError) as error:
        raise BarkError(f"{source} cannot be read: {reason(error)}") from None
    if not stat.S_ISREG(mode):
        raise BarkError(f"{source} is not a plain file: write the rows into one, since they are read more than once")


def _read_json_lines(source: Path, columns: Columns, skip: Skip) -> Iterator[Record]:
    with source.open("rb") as file:
        _check_text(file, source)
        for line, content in _lines(file):
            if content is not None and not content.strip():
                continue
            if not skip(line):
                yield _json_record(line, content)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file with their numbers; None for one that is too long, which is not kept in memory."""
    line = 0
    while content := file.readline(MOST_LINE):
        line += 1
        if len(content) == MOST_LINE and not content.endswith(b"\n"):
            while (rest := file.readline(MOST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield line, None
        else:
            yield line, content.removeprefix(b"\xef\xbb\xbf") if line == 1 else content


def _json_record(line: int, content: bytes | None) -> Record:
    if content is None:
        return Record(line, error=f"the line is longer than {MOST_LINE >> 20} MiB")
    try:
        fields = json.loads(content.decode())
    except UnicodeDecodeError as error:
        return Record(line, error=f"the line is not UTF-8 (byte {error.start})")
    except (ValueError, RecursionError) as error:
        return Record(line, error=f"the line is not JSON: {reason(error)}")
    if not isinstance(fields, dict):
        return Record(line, error=f"the line is not a JSON object, but a {type(fields).__name__}")
    return Record(line, fields)


def _read_csv(source: Path, columns: Columns, skip: Skip) -> Iterator[Record]:
    with source.open("rb") as file:
        _check_text(file, source)
        first = file.readline(MOST_LINE).decode("utf-8-sig", "replace")
    delimiter = next((mark for mark in ",;\t" if columns.text in next(csv.reader([first], delimiter=mark), [])), ",")
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise BarkError(f"{source} has no header that can be read: {error}") from None
        _check_header(source, header, columns)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if not skip(line):
                    yield Record(line, error=f"the line is not CSV: {error}")
                continue
            if cells and not skip(line):
                yield _csv_record(line, header, cells)


def _csv_record(line: int, header: Sequence[str], cells: Sequence[str]) -> Record:
    if len(cells) != len(header):
        return Record(line, error=f"the line has {len(cells)} cells, and the header {len(header)}")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return Record(line, error="the line is not UTF-8")
    return Record(line, {name: cell or None for name, cell in zip(header, cells, strict=True)})


def _check_header(source: Path, header: Sequence[str], columns: Columns) -> None:
    if columns.text not in header:
        names = ", ".join(header[:10]) or "none"
        raise BarkError(f"{source} has no column {columns.text!r} (its columns: {names}): give --text-column")
    if len({*header}) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise BarkError(f"{source} has two columns {twice!r}: rename one")


def _check_text(file: BinaryIO, source: Path) -> None:
    beginning = file.read(_SEEN)
    refuse_binary(beginning, str(source))
    if b"\0" in beginning:
        raise BarkError(
            f"{source} is not a text in UTF-8, but has zero bytes: convert it, or rename it if it is Parquet"
        )
    file.seek(0)


_READERS: dict[str, Callable[[Path, Columns, Skip], Iterator[Record]]] = {
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": read_parquet,
}
