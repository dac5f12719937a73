"""Tensors on disk: safetensors, and what torch.save wrote.

The files may be damaged or hostile: nothing in them is run, and whatever is wrong with one is a CheckpointError.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from .configuration import read_json
from .directory import CheckpointDirectory
from .weights import CheckpointError, listing

INDEX = ".index.json"  # beside a state dict in several files, after the name that one file would have
_WRAPPERS = ("module", "_orig_mod")


@dataclass(frozen=True)
class StateFiles:
    """A Hugging Face state dict, in one file or several."""

    paths: tuple[Path, ...]

    @classmethod
    def find(cls, directory: CheckpointDirectory) -> "StateFiles":
        """The files in a directory that has weights in this layout."""
        names = weight_files(directory, directory.names)
        return cls(tuple(directory.file(name) for name in names if not name.endswith(INDEX)))

    def read(self, others: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
        """All tensors but those whose names begin with one of `others`, the prefixes of other networks."""
        tensors: dict[str, torch.Tensor] = {}
        for path in self.paths:
            found = _read_tensors(path, others)
            if twice := sorted(found.keys() & tensors.keys()):
                raise CheckpointError(f"{path.name} holds what another file holds too ({listing(twice)})")
            tensors |= found
        return tensors


def weight_files(directory: CheckpointDirectory, names: Collection[str]) -> tuple[str, ...]:
    """The files of a Hugging Face state dict, safetensors first: one, or an index and what it names.

    Args:
        directory: where the index lies, if there is one.
        names: the files that there are; they may still be on the hub.

    Raises:
        CheckpointError: there is none, or one that the index names is missing.
    """
    for file in ("model.safetensors", "pytorch_model.bin"):
        if file in names:
            return (file,)
        if (index := file + INDEX) in names:
            shards = _shards(directory.file(index))
            if missing := [shard for shard in shards if shard not in names]:
                raise CheckpointError(
                    f"{missing[0]} is missing from {directory.name}, though {index} names it: {directory.advice}"
                )
            return (index, *shards)
    raise CheckpointError(f"{directory.name} has neither model.safetensors nor pytorch_model.bin: {directory.advice}")


def _shards(index: Path) -> list[str]:
    """The files that an index names; they must lie beside it."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{index.name} has no weight_map from tensors to files: download it again")
    shards = sorted(set(names.values()))
    for shard in shards:
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.(safetensors|bin)", shard):
            raise CheckpointError(f"{index.name} names {shard!r}, which is not a file beside it, and was refused")
    return shards


def _read_tensors(path: Path, others: tuple[str, ...]) -> dict[str, torch.Tensor]:
    if path.suffix == ".bin":
        state = state_dict(read_pickle(path), path.name)
        return {
            name: state[theirs] for name, theirs in unwrapped(state, path.name).items() if not name.startswith(others)
        }
    try:
        with safe_open(path, framework="pt") as file:
            names = unwrapped(file.keys(), path.name)
            return {name: file.get_tensor(theirs) for name, theirs in names.items() if not name.startswith(others)}
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{path.name} cannot be read ({_first_line(error)}): download it again") from error


def unwrapped(names: Iterable[str], where: str) -> dict[str, str]:
    """For each name in a state dict, without the wrappers of torch that its model was saved in: the name as it is.

    DataParallel puts its model under `module`, torch.compile under `_orig_mod`; either can be around a part only.
    """
    found: dict[str, str] = {}
    for theirs in names:
        name = ".".join(part for part in theirs.split(".") if part not in _WRAPPERS)
        if name in found:
            raise CheckpointError(f"{where} holds {listing([found[name]])} and {listing([theirs])}, which are the same")
        found[name] = theirs
    return found


class _Unneeded:
    """Takes the place of numpy scalars, which Suno's files hold (`best_val_loss`) and nothing here reads."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


_NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Unneeded, name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
]


def read_pickle(path: Path) -> object:
    """What torch.save wrote: tensors and plain values, memory-mapped where possible."""
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_mappable(path))
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        held = f"it holds {code[1]}" if code else "it is not a file of plain tensors"
        raise CheckpointError(f"{path.name} was refused ({held}): download the original") from error
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{path.name} cannot be read ({_first_line(error)}): download it again") from error


def _mappable(path: Path) -> bool:
    """Not the format from before torch 1.6, and not compressed since: torch would map compressed bytes as they are."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def state_dict(value: object, where: str) -> dict[str, torch.Tensor]:
    """`value`, if it is a mapping of names to tensors."""
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items()
    ):
        raise CheckpointError(f"{where} does not hold a state dict (names and their tensors): download it again")
    return value


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
