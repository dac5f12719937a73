"""A row of a batch job: what to say, and how. A row that cannot be used says why."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

from ..errors import BarkError, one_line, shown
from ..model.tokenizer import require_something_to_say
from ..numbers import check_seed
from ..stages.options import GenerationOptions
from .ids import check_id

OPTIONS = tuple(option.name for option in fields(GenerationOptions))  # the columns of the options of one row
MOST_TEXT = 1 << 17  # characters of one row, about two hours; its audio is in memory until it is written
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class Columns:
    """The names of the columns. Options of a row are in columns that have the names of `GenerationOptions`' fields.

    Raises BarkError for names that are empty or the same.
    """

    id: str = "id"
    text: str = "text"
    voice: str = "voice"
    seed: str = "seed"

    def __post_init__(self) -> None:
        names = [getattr(self, column.name) for column in fields(self)]
        if not all(isinstance(name, str) and name for name in names):
            raise BarkError("the names of columns must be strings that are not empty")
        twice = sorted({name for name in [*names, *OPTIONS] if [*names, *OPTIONS].count(name) > 1})
        if twice:
            raise BarkError(f"the column {twice[0]!r} has two meanings: give each column another name")

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (self.id, self.text, self.voice, self.seed, *OPTIONS)


@dataclass(frozen=True)
class Record:
    """A row as it stands in a file.

    Args:
        line: where it begins: the line of a text file, or the number of the row in a Parquet file; from 1.
        fields: the values by column, None for an empty one; nothing if the row could not be read.
        error: why it could not be read.
    """

    line: int
    fields: Mapping[str, object] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Row:
    """An utterance of a batch job.

    Args:
        line: where it begins: the line of a text file, or the number of the row in a Parquet file; from 1.
        id: the name of the audio file, without its suffix.
        text: of any length.
        voice: a name in the bundle or a path.
        seed: the row's own, or the one that is derived from the job's seed and the id.
        options: how to sample.
    """

    line: int
    id: str
    text: str
    voice: str | None = None
    seed: int = 0
    options: GenerationOptions = field(default_factory=GenerationOptions)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be spoken.

    Args:
        line, id: as for Row.
        error: what is wrong, in one line.
    """

    line: int
    id: str
    error: str


AnyRow: TypeAlias = Row | BadRow


@dataclass(frozen=True)
class Defaults:
    """What a row takes where it has no value of its own.

    Args:
        voice: a name in the bundle or a path.
        seed: of the job. A row's seed is derived from it and from the row's id.
        options: how to sample.
    """

    voice: str | None = None
    seed: int = 0
    options: GenerationOptions = field(default_factory=GenerationOptions)


def derived_seed(seed: int, row_id: str) -> int:
    """The seed of a row that has none: the first 32 bits of the sha256 of `SEED:ID`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row_id}".encode()).digest()[:4])


def row_id(record: Record, columns: Columns) -> str:
    """The id of a row: its own, or the number of its line with at least six digits. Raises BarkError."""
    value = record.fields.get(columns.id)
    if value is None:
        return f"{record.line:06}"
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise BarkError(f"line {record.line}: the id must be a string or a whole number, not {_kind(value)}")
    try:
        return check_id(str(value))
    except BarkError as error:
        raise BarkError(f"line {record.line}: {error}") from None


def parse_row(record: Record, columns: Columns, defaults: Defaults) -> AnyRow:
    """Make a row of what stands in a file. A value of a wrong type or out of range makes a BadRow.

    Raises BarkError for an id that cannot name a file: nothing is known by which its result could be found.
    """
    name = row_id(record, columns)
    try:
        if record.error is not None:
            raise BarkError(record.error)
        values = record.fields
        text, voice, seed = (values.get(column) for column in (columns.text, columns.voice, columns.seed))
        if text is None:
            raise BarkError(f"no text (column {columns.text!r})")
        require_something_to_say(text)
        assert isinstance(text, str)
        if len(text) > MOST_TEXT:
            raise BarkError(f"the text has {len(text)} characters, and a row at most {MOST_TEXT}: use bark-onnx say")
        text.encode()  # raises UnicodeEncodeError for half of a surrogate pair
        if not isinstance(voice, str | None):
            raise BarkError(f"the voice must be a string, not {_kind(voice)}")
        own = {option: _option(option, values[option]) for option in OPTIONS if values.get(option) is not None}
        return Row(
            record.line,
            name,
            text,
            defaults.voice if voice is None else voice,
            derived_seed(defaults.seed, name) if seed is None else check_seed(_number("the seed", seed)),
            replace(defaults.options, **own),
        )
    except UnicodeEncodeError:
        return BadRow(record.line, name, "the text is not valid Unicode: it has half of a surrogate pair")
    except BarkError as error:
        return BadRow(record.line, name, one_line(str(error)))


def _option(name: str, value: object) -> Any:
    """The value of an option as `GenerationOptions` takes it. 0 for `min_eos_p` means None, as on the command line."""
    if isinstance(value, str) and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    number = _number(name, value)
    return None if name == "min_eos_p" and number == 0 and not isinstance(number, bool) else number


def _number(name: str, value: object) -> object:
    """The number that a string means, as in a CSV file; any other value as it is."""
    if not isinstance(value, str):
        return value
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            pass
    raise BarkError(f"{name} must be a number, not {shown(value[:40])}")


def _kind(value: object) -> str:
    return type(value).__name__
