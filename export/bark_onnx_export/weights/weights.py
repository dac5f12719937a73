"""One network's tensors under our names, checked: complete, of the right shapes, finite."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from bark_onnx.model.sizes import CodecSize, TransformerSize

from ..errors import CheckpointError, listing

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """One network.

    Attributes:
        size: its sizes.
        tensors: its tensors by our names; float32, contiguous and finite.
    """

    size: TransformerSize | CodecSize
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Place:
    """The name of a tensor in a checkpoint, and the shape that it must have."""

    name: str
    shape: Shape


def collect(
    where: str, tensors: Mapping[str, torch.Tensor], places: Mapping[str, Place], ignored: re.Pattern[str]
) -> dict[str, torch.Tensor]:
    """Take every tensor of `places` out of a state dict: by our names, in float32.

    Args:
        where: the network's name in errors.
        tensors: the state dict.
        places: the place of each tensor, by our names.
        ignored: names in which this is found are not unexpected.

    Raises:
        CheckpointError: names all tensors that are missing, unexpected, of another shape or type, or not finite.
    """
    known = {place.name for place in places.values()}
    if tensors and not known & tensors.keys():
        raise CheckpointError(
            f"{where} names its tensors unlike any Bark ({listing(sorted(tensors)[:2])} ...): save the model with "
            "`save_pretrained`, its adapters merged"
        )
    problems = [f"no {place.name}" for place in places.values() if place.name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in known and not ignored.search(name)]
    found: dict[str, torch.Tensor] = {}
    for ours, place in places.items():
        if place.name in tensors:
            tensor = tensors[place.name].detach()
            if problem := _misfit(tensor, place.shape):
                problems.append(f"{place.name} {problem}")
            else:
                found[ours] = tensor.to(torch.float32).contiguous()
    problems += [f"{places[ours].name} holds NaN or infinity" for ours in found if not found[ours].isfinite().all()]
    if problems:
        raise CheckpointError(f"{where} is not a complete model of its size ({listing(problems)}): download it again")
    return found


def _misfit(tensor: torch.Tensor, shape: Shape) -> str | None:
    """Return what is wrong with a tensor, as the end of a sentence that begins with its name; None if nothing is."""
    if tuple(tensor.shape) != shape:
        return f"is {list(tensor.shape)} instead of {list(shape)}"
    if not tensor.is_floating_point():
        return f"is {tensor.dtype}, not floating point"
    # A view can repeat a few bytes to a tensor of any size. A hostile file could exhaust the memory with one.
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.untyped_storage().nbytes() < tensor.nbytes:
        return "is not a plain tensor"
    return None
