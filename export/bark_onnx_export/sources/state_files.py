"""A Hugging Face state dict: one file, or an index and the shards that it names."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import CheckpointError, listing
from .configuration import read_json
from .directory import CheckpointDirectory
from .tensor_files import check_complete, read_tensors

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in the order of preference
INDEX = ".index.json"  # the suffix of an index, after the name that a single file would have


@dataclass(frozen=True)
class StateFiles:
    """The files of a state dict. Each is complete, as far as its header tells."""

    paths: tuple[Path, ...]

    @classmethod
    def find(cls, directory: CheckpointDirectory) -> "StateFiles":
        """Find the files in a directory. Raises CheckpointError if one is missing, incomplete or cannot be read."""
        names = weight_files(directory, directory.names)
        paths = tuple(directory.file(name) for name in names if not name.endswith(INDEX))
        for path in paths:
            check_complete(path)
        return cls(paths)

    def read(self, others: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
        """Return all tensors except those whose names begin with one of `others`, the prefixes of other networks."""
        tensors: dict[str, torch.Tensor] = {}
        for path in self.paths:
            found = read_tensors(path, others)
            if twice := sorted(found.keys() & tensors.keys()):
                raise CheckpointError(f"{path.name} holds what another file holds too ({listing(twice)})")
            tensors |= found
        return tensors


def weight_files(directory: CheckpointDirectory, names: Collection[str]) -> tuple[str, ...]:
    """Return the names of a state dict's files: a single file, or an index and its shards. Safetensors come first.

    Args:
        directory: where the index is, if the checkpoint has one.
        names: the checkpoint's files, which may still be on the hub.

    Raises:
        CheckpointError: there is no such file, or a shard that the index names is missing.
    """
    for file in WEIGHT_FILES:
        if file in names:
            return (file,)
        if (index := file + INDEX) in names:
            shards = _shards(directory.file(index))
            if missing := [shard for shard in shards if shard not in names]:
                raise CheckpointError(
                    f"{missing[0]} is missing from {directory.name}, though {index} names it: {directory.advice}"
                )
            return (index, *shards)
    raise CheckpointError(f"{directory.name} has neither {' nor '.join(WEIGHT_FILES)}: {directory.advice}")


def _shards(index: Path) -> list[str]:
    """Return the names of the shards in an index. A name that leads to another directory is refused."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{index.name} has no weight_map from tensors to files: download it again")
    shards = sorted(set(names.values()))
    for shard in shards:
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.(safetensors|bin)", shard):
            raise CheckpointError(f"{index.name} names {shard!r}, which is not a file beside it, and was refused")
    return shards
