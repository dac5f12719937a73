"""A checkpoint's configuration, read field by field. A value of a wrong type or out of its range is an error."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object in a file. Raises CheckpointError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} cannot be read ({error}): download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} is not a JSON object: download it again")
    return value


@dataclass(frozen=True)
class Section:
    """One object of a configuration. The libraries leave out fields that have their default values.

    Attributes:
        where: the section's name in errors.
        values: its fields.
    """

    where: str
    values: Mapping[str, object]

    def section(self, name: str) -> "Section":
        """Return the section in a field; an empty one if the field is missing or null. Raises CheckpointError."""
        value = self.values.get(name)
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise CheckpointError(f"{name} in {self.where} is {reprlib.repr(value)}, not an object")
        return Section(f"{name} of {self.where}", value)

    def integer(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 1 to `most`. Raises CheckpointError."""
        value = self.values.get(name, default)
        if type(value) is not int or not 1 <= value <= most:
            raise CheckpointError(f"{name} in {self.where} is {reprlib.repr(value)}, not a number from 1 to {most}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false. Raises CheckpointError."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"{name} in {self.where} is {reprlib.repr(value)}, not true or false")
        return value

    def require(self, needed: Mapping[str, object]) -> None:
        """Raise CheckpointError if a field has another value than the one that can be exported, which is its default.

        Args:
            needed: that value, by the field's name.
        """
        wrong = [
            f"{name} is {reprlib.repr(self.values[name])} instead of {value!r}"
            for name, value in needed.items()
            if self.values.get(name, value) != value
        ]
        if wrong:
            raise CheckpointError(f"{self.where} describes a model that cannot be exported: {'; '.join(wrong)}")
