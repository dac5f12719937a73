"""Shards: numbered .npz files in one folder, each with arrays of many utterances."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def shard(directory: Path, number: int) -> Path:
    """Return the path of a shard."""
    return directory / f"{number:04}.npz"


def shards(directory: Path) -> list[Path]:
    """Return the paths of all complete shards in order."""
    return sorted(directory.glob("[0-9]*[0-9].npz"))


def write(path: Path, lists: dict[str, Sequence[Array]], **arrays: Array) -> None:
    """Write a shard. A failure leaves no shard.

    Args:
        lists: arrays of different lengths, one per utterance. They are joined along the last axis, and `name_ends`
            records where each one ends.
        arrays: written as they are.
    """
    members: dict[str, Any] = dict(arrays)
    for name, items in lists.items():
        members[name] = np.concatenate(items, axis=-1)
        members[f"{name}_ends"] = np.cumsum([item.shape[-1] for item in items])
    temporary = path.with_suffix(".partial.npz")
    np.savez(temporary, **members)
    temporary.replace(path)


def split(shard: np.lib.npyio.NpzFile, name: str) -> list[Array]:
    """Return the arrays that were joined under `name`."""
    return np.split(shard[name], shard[f"{name}_ends"][:-1], axis=-1)
