"""The KV cache of a causal decoder: keys and values of the positions that it has run, one row for each sequence."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from .memory import Memory

IdArray: TypeAlias = NDArray[np.int64]
T = TypeVar("T")

SPANS = 32  # spans of neighbouring rows whose bindings are kept; 64 rows have 2080 spans


class Recent(Generic[T]):
    """The values of the `most` spans of rows that were used last."""

    def __init__(self, most: int = SPANS) -> None:
        self._most = most
        self._values: dict[range, T] = {}  # the one used last is at the end

    def get(self, span: range, make: Callable[[range], T]) -> T:
        """The value of a span, made anew if it is not kept."""
        value = self._values.pop(span, None)
        if value is None:
            value = make(span)
        self._values[span] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]
        return value


@dataclass(eq=False)
class KVCache:
    """Keys and values of each row's positions, and the ids at these positions.

    Args:
        memory: [2 * layers, R, heads, context, head_size]; graphs append to it in place.
        ids: [R, 2, context], input and history ids, of which a row's first `lengths[row]` are valid.
        lengths: [R], positions that each row holds.
        rows: the number of rows for sequences. R is larger if a decoder needs a spare row.
        prefilled: the cache of another precision that a `SplitDecoder` prefills in, while it is in use.
    """

    memory: Memory
    ids: IdArray
    lengths: IdArray
    rows: int
    prefilled: "KVCache | None" = field(default=None, repr=False)

    def clear(self, row: int = 0) -> None:
        """Forget a row's positions, so that its next prompt is prefilled from the beginning.

        A prefix that another utterance has left would be right, but not bit-identical: a kernel may add up in another
        order for other numbers of positions, and so the same seed could make other tokens.
        """
        self.lengths[row] = 0
        if not self.lengths.any():
            self.prefilled = None

    def append(self, row: int, input_id: int, history_id: int) -> None:
        """Note that a graph has appended one position to a row."""
        place = int(self.lengths[row])
        self.ids[row, 0, place], self.ids[row, 1, place] = input_id, history_id
        self.lengths[row] = place + 1

    def held(self, row: int, ids: IdArray) -> int:
        """The number of leading positions of a prompt, ids [2, n], that a row holds already."""
        before = self.ids[row, :, : self.lengths[row]]
        shorter = min(ids.shape[1], before.shape[1])
        differs = (ids[:, :shorter] != before[:, :shorter]).any(axis=0)
        return int(differs.argmax()) if differs.any() else shorter
