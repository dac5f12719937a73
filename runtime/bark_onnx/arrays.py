"""Names for the arrays that the stages hand to each other."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.integer[Any]]
"""Tokens, codes or ids of any width."""

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""Logits or probabilities."""

Waveform: TypeAlias = NDArray[np.float32]
"""Samples [n], mono, full scale at 1."""
