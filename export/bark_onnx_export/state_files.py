"""Tensors on disk: safetensors, and what torch.save wrote.

The files may be damaged or hostile: nothing in them is run, and whatever is wrong with one is a CheckpointError.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from .configuration import read_json
from .weights import CheckpointError


@dataclass(frozen=True)
class StateFiles:
    """A Hugging Face state dict, in one file or several."""

    paths: tuple[Path, ...]

    @classmethod
    def find(cls, directory: Path, name: str) -> "StateFiles":
        """The files in `directory`, which an error calls `name`; safetensors first."""
        for file in ("model.safetensors", "pytorch_model.bin"):
            if (directory / file).is_file():
                return cls((directory / file,))
            if (directory / f"{file}.index.json").is_file():
                return cls(_shards(directory / f"{file}.index.json"))
        raise CheckpointError(f"{name} has neither model.safetensors nor pytorch_model.bin: download it again")

    def read(self, others: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
        """All tensors but those whose names begin with one of `others`, the prefixes of other networks."""
        return {name: tensor for path in self.paths for name, tensor in _read_tensors(path, others).items()}


def _shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names; they must lie beside it."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{index.name} has no weight_map from tensors to files: download it again")
    shards = sorted(set(names.values()))
    for shard in shards:
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.(safetensors|bin)", shard):
            raise CheckpointError(f"{index.name} names {shard!r}, which is not a file beside it, and was refused")
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{shard} is missing, though {index.name} names it: download it again")
    return tuple(index.parent / shard for shard in shards)


def _read_tensors(path: Path, others: tuple[str, ...]) -> dict[str, torch.Tensor]:
    if path.suffix == ".bin":
        state = state_dict(read_pickle(path), path.name)
        return {name: tensor for name, tensor in state.items() if not name.startswith(others)}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if not name.startswith(others)}  # noqa: SIM118
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{path.name} cannot be read ({_first_line(error)}): download it again") from error


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
