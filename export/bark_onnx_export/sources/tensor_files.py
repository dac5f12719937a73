"""One file of tensors: safetensors, or what torch.save wrote.

A file may be damaged or hostile. No code in it is run, and everything that is wrong with it is a CheckpointError.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from bark_onnx.errors import reason

from ..errors import CheckpointError, listing

_WRAPPERS = ("module", "_orig_mod")
_ZIP_BEGINNING = b"PK\x03\x04"


def check_complete(path: Path) -> None:
    """Raise CheckpointError if a file is shorter than its own header says. No tensor is read.

    A download that broke off is found this way before any work begins. torch.save's format from before torch 1.6 does
    not state its size; a file in it is only checked when it is read.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):  # compares the header with the file's size
                return
        with path.open("rb") as file:
            beginning = file.read(len(_ZIP_BEGINNING))
        if not beginning:
            raise CheckpointError(f"{path.name} is empty: download it again")
        if beginning == _ZIP_BEGINNING:
            _check_zip(path)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{path.name} is incomplete or damaged ({reason(error)}): download it again") from error


def _check_zip(path: Path) -> None:
    """Raise BadZipFile if a zip archive has no table of its entries, which is at its end, or if an entry is cut."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not 0 <= entry.header_offset <= archive.start_dir - entry.compress_size:
                raise zipfile.BadZipFile(f"{entry.filename} is not all there")


def read_tensors(path: Path, others: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """Return the state dict in a safetensors file or a pickle, by names without torch's wrappers.

    Args:
        others: leave out tensors whose names begin with one of these, the prefixes of other networks.

    Raises:
        CheckpointError: the file cannot be read, is refused, or holds something else.
    """
    if path.suffix != ".safetensors":
        tensors = state_dict(read_pickle(path), path.name)
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(others)}
    try:
        with safe_open(path, framework="pt") as file:
            names = _unwrapped(file.keys(), path.name)
            return {name: file.get_tensor(theirs) for name, theirs in names.items() if not name.startswith(others)}
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{path.name} cannot be read ({reason(error)}): download it again") from error


class _Unneeded:
    """Stands in for numpy scalars: Suno's files hold one (`best_val_loss`), and the exporter does not read it."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


_NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Unneeded, name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
]


def read_pickle(path: Path) -> object:
    """Return what torch.save wrote: tensors and plain values. The file is mapped into memory where possible.

    Raises:
        CheckpointError: the file cannot be read, or it holds more than tensors and plain values.
    """
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        held = f"it holds {code[1]}" if code else "it is not a file of plain tensors"
        raise CheckpointError(f"{path.name} was refused ({held}): download the original") from error
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{path.name} cannot be read ({reason(error)}): download it again") from error


def _can_be_mapped(path: Path) -> bool:
    """Whether torch can map the file: it must be a zip archive, and uncompressed, which torch does not check."""
    if not zipfile.is_zipfile(path):  # the format from before torch 1.6
        return False
    with zipfile.ZipFile(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def state_dict(value: object, where: str) -> dict[str, torch.Tensor]:
    """Return `value` as a mapping of names, without torch's wrappers, to tensors.

    Raises:
        CheckpointError: it is not a state dict, or two of its names are equal without the wrappers.
    """
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items()
    ):
        raise CheckpointError(f"{where} does not hold a state dict (names and their tensors): download it again")
    return {name: value[theirs] for name, theirs in _unwrapped(value, where).items()}


def _unwrapped(names: Iterable[str], where: str) -> dict[str, str]:
    """Map each name, without the wrappers that torch adds, to the name in the file.

    DataParallel puts a model under `module`, torch.compile under `_orig_mod`. Either may wrap only a part of it.
    """
    found: dict[str, str] = {}
    for theirs in names:
        name = ".".join(part for part in theirs.split(".") if part not in _WRAPPERS)
        if name in found:
            raise CheckpointError(f"{where} holds {listing([found[name]])} and {listing([theirs])}, which are the same")
        found[name] = theirs
    return found
