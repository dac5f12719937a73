"""Numbers that callers give: one place that makes a plain int, float or bool of whatever has a single meaning.

Accepted are Python's numbers, numpy's scalars, anything else with one exact value (a `Decimal`, a scalar tensor), and
1.0 for a whole number. Refused are strings, arrays, complex numbers, and bools as numbers.
"""

import operator
import types
from dataclasses import Field, fields
from typing import Any, get_args

from .errors import BarkError, shown

SEEDS = 2**64  # a seed is from 0 to one less


def whole(name: str, value: object) -> int:
    """Return a whole number as a plain int. Raises BarkError, which begins with `name`."""
    number = _scalar(value)
    try:
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        pass  # a float may have a whole value
    try:
        as_float = float(number)  # type: ignore[arg-type]
        if as_float.is_integer():
            return int(as_float)
    except (TypeError, ValueError, OverflowError):
        pass
    raise BarkError(f"{name} must be a whole number, not {shown(value)}")


def real(name: str, value: object) -> float:
    """Return a number as a plain float, which may be infinite or NaN. Raises BarkError, which begins with `name`."""
    try:
        return float(_scalar(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise BarkError(f"{name} must be a number, not {shown(value)}") from None


def flag(name: str, value: object) -> bool:
    """Return True or False as a plain bool. Raises BarkError, which begins with `name`."""
    unwrapped = _unwrapped(value)
    if isinstance(unwrapped, bool):
        return unwrapped
    raise BarkError(f"{name} must be True or False, not {shown(value)}")


def check_seed(value: object) -> int:
    """Return a seed as a plain int. Raises BarkError unless it is a whole number from 0 to 2**64 - 1."""
    seed = whole("a seed", value)
    if not 0 <= seed < SEEDS:
        raise BarkError(f"a seed must be a whole number from 0 to 2**64 - 1, not {shown(seed)}")
    return seed


def plain_numbers(options: Any) -> None:
    """Convert those fields of a frozen dataclass whose type is int, float or bool, or one of them or None.

    Call it first in `__post_init__`: rules then compare plain numbers, and JSON can write them. Raises one BarkError
    that names every field whose value has the wrong type.
    """
    problems = []
    for field in fields(options):
        try:
            object.__setattr__(options, field.name, _converted(field, getattr(options, field.name)))
        except BarkError as error:
            problems.append(str(error))
    if problems:
        raise BarkError("; ".join(problems))


_CONVERSIONS = {int: whole, float: real, bool: flag}


def _converted(field: Field[Any], value: object) -> object:
    allowed = get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,)
    if value is None and types.NoneType in allowed:
        return None
    for kind, convert in _CONVERSIONS.items():
        if kind in allowed:
            return convert(field.name, value)
    return value


def _scalar(value: object) -> object:
    """Return what may be converted to a number; None for strings, which Python would parse, and for bools."""
    unwrapped = _unwrapped(value)
    return None if isinstance(unwrapped, (bool, str, bytes, bytearray)) else unwrapped


def _unwrapped(value: object) -> object:
    """Return the Python object in a numpy scalar, an array or a tensor without dimensions; None for other arrays."""
    shape, item = getattr(value, "shape", None), getattr(value, "item", None)
    if shape is None:
        return value
    return item() if shape == () and callable(item) else None
