"""Reading the rows of a batch job from Parquet (extra `parquet`)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import BarkError, how_to_install, reason
from .row import Columns, Record

_BATCH = 256  # rows that are decoded at a time


def read_parquet(source: Path, columns: Columns, skip: Callable[[int], bool]) -> Iterator[Record]:
    """Read the rows of a Parquet file in batches, and of its columns only those that are needed.

    Raises BarkError if it is not Parquet, is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise BarkError(f"to read {source}, install pyarrow: {how_to_install('parquet')}") from None
    with source.open("rb") as opened:
        try:
            with ParquetFile(opened, pre_buffer=False) as file:
                yield from _rows(file, source, columns, skip)
        except (pyarrow.ArrowException, OSError) as error:
            raise BarkError(f"{source} is not a Parquet file, or is damaged: {reason(error)}") from None


def _rows(file: Any, source: Path, columns: Columns, skip: Callable[[int], bool]) -> Iterator[Record]:
    """The rows of a `ParquetFile`."""
    names = file.schema_arrow.names
    if columns.text not in names:
        listed = ", ".join(names[:10]) or "none"
        raise BarkError(f"{source} has no column {columns.text!r} (its columns: {listed}): give --text-column")
    wanted = [name for name in names if name in columns.all]
    if len({*wanted}) < len(wanted):
        raise BarkError(f"{source} has two columns of the same name: rename one")
    line = 0
    for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
        fields = {name: batch.column(name) for name in wanted}
        for index in range(batch.num_rows):
            line += 1
            if not skip(line):
                yield _record(line, {name: column[index] for name, column in fields.items()})


def _record(line: int, cells: dict[str, Any]) -> Record:
    """A row of pyarrow's scalars. A string that is not UTF-8 fails only when it is taken."""
    try:
        return Record(line, {name: cell.as_py() for name, cell in cells.items()})
    except UnicodeDecodeError:
        return Record(line, error="the row has a string that is not UTF-8")
