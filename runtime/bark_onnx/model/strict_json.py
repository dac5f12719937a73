"""JSON from outside as dataclasses: exactly their fields, of exactly their types, and every problem named."""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from ..errors import BarkError


def parse(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    """`value` (from JSON) as `kind`: a dataclass, dict, tuple, or scalar. Problems are collected, none is raised."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None
        return None if value is None else parse(arguments[0], value, where, problems)
    if is_dataclass(kind) and isinstance(value, dict):
        return _fields(kind, value, where, problems)
    if origin is dict and isinstance(value, dict):
        return {key: parse(arguments[1], item, f"{where}[{key!r}]", problems) for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(parse(arguments[0], item, where, problems) for item in value)
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    if type(value) is not kind:
        problems.append(f"{where} is {value!r:.60}, expected {getattr(kind, '__name__', kind)}")
    return value


def _fields(kind: Any, value: dict[str, object], where: str, problems: list[str]) -> Any:
    """A dataclass from exactly its fields."""
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    names = [field.name for field in fields(kind)]
    problems += [f"{prefix}{name} is missing" for name in names if name not in value]
    problems += [f"{prefix}{name} is unknown" for name in value if name not in names]
    before = len(problems)
    arguments = {name: parse(hints[name], value[name], prefix + name, problems) for name in names if name in value}
    if len(problems) > before or len(arguments) < len(names):
        return None
    try:
        return kind(**arguments)
    except BarkError as error:
        problems.append(f"{where}: {error}")
        return None
