"""A checkpoint's configuration, read field by field: every value has a type and a range, or is an error."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .weights import CheckpointError


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in a file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} cannot be read ({error}): download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} is not a JSON object: download it again")
    return value


@dataclass(frozen=True)
class Section:
    """One part of a configuration, and what an error calls it. Both libraries leave out what has its default value."""

    where: str
    values: Mapping[str, object]

    def section(self, name: str) -> "Section":
        """A part of it, empty if it is left out or null."""
        value = self.values.get(name)
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise CheckpointError(f"{name} in {self.where} is {reprlib.repr(value)}, not an object")
        return Section(f"{name} of {self.where}", value)

    def integer(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self.values.get(name, default)
        if type(value) is not int or not 1 <= value <= most:
            raise CheckpointError(f"{name} in {self.where} is {reprlib.repr(value)}, not a number from 1 to {most}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"{name} in {self.where} is {reprlib.repr(value)}, not true or false")
        return value

    def require(self, needed: Mapping[str, object]) -> None:
        """Refuse whatever has another value than the only one that can be exported, which is also its default."""
        wrong = [
            f"{name} is {reprlib.repr(self.values[name])} instead of {value!r}"
            for name, value in needed.items()
            if self.values.get(name, value) != value
        ]
        if wrong:
            raise CheckpointError(f"{self.where} describes a model that cannot be exported: {'; '.join(wrong)}")
