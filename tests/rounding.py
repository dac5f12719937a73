"""Logits whose sampling depends on rounding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def near_a_border(logits: NDArray[np.floating[Any]], top_p: float) -> bool:
    """Whether rounding decides which token crosses `top_p`."""
    mass = np.sort(np.exp(logits - logits.max()))[::-1].cumsum()
    return bool((np.abs(mass / mass[-1] - top_p) < 1e-9).any())
