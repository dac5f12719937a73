"""Types of the arrays that stages pass to each other, and the check of arrays that callers give."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import BarkError

IntArray: TypeAlias = NDArray[np.integer[Any]]
"""Tokens, codes or ids of any width."""

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""Logits or probabilities."""

Waveform: TypeAlias = NDArray[np.float32]
"""Samples [n], mono, full scale at 1."""


def check_tokens(what: str, values: ArrayLike, shape: tuple[range | None, ...], below: int) -> IntArray:
    """Return a caller's tokens as an int64 array.

    Args:
        what: the tokens' name in errors.
        shape: for each axis the lengths it may have; None for any length but 0.
        below: every token is from 0 to one less.

    Raises BarkError for values that are not integers, or not of this shape or range.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise BarkError(f"{what} must be an array of integers; rows must have the same length") from None
    expected = (
        "[" + ", ".join("n" if r is None else f"{r[0]}..{r[-1]}" if len(r) > 1 else str(r[0]) for r in shape) + "]"
    )
    fits = array.ndim == len(shape) and all(
        size > 0 and (allowed is None or size in allowed) for size, allowed in zip(array.shape, shape, strict=False)
    )
    if not fits or not np.issubdtype(array.dtype, np.integer):
        raise BarkError(f"{what} must be integers of shape {expected}, not {array.dtype} of shape {list(array.shape)}")
    if array.min() < 0 or array.max() >= below:
        raise BarkError(f"{what} must be from 0 to {below - 1}, not {array.min()} to {array.max()}")
    return array.astype(np.int64)
