"""What every checkpoint becomes: one network's tensors under our names, complete and finite."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from bark_onnx.errors import BarkError
from bark_onnx.model.sizes import CodecSize, TransformerSize

Shape = tuple[int, ...]

MOST_PROBLEMS = 10


class CheckpointError(BarkError):
    """A checkpoint that cannot be read, is incomplete, or is of a model that Bark's graphs cannot express."""


@dataclass(frozen=True)
class Weights:
    """One network: its size, and its tensors (float32, contiguous, finite) by our names."""

    size: TransformerSize | CodecSize
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Place:
    """Where a checkpoint keeps a tensor of ours: its name there, and the shape it must have."""

    name: str
    shape: Shape


def collect(
    where: str, tensors: Mapping[str, torch.Tensor], places: Mapping[str, Place], ignored: re.Pattern[str]
) -> dict[str, torch.Tensor]:
    """Every tensor of `places`, by our names, in float32.

    Raises:
        CheckpointError: names all that is missing, unexpected (unless `ignored` finds it), misshapen, or not finite.
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
        raise CheckpointError(f"{where} is no complete model of its size ({listing(problems)}): download it again")
    return found


def _misfit(tensor: torch.Tensor, shape: Shape) -> str | None:
    if tuple(tensor.shape) != shape:
        return f"is {list(tensor.shape)} instead of {list(shape)}"
    if not tensor.is_floating_point():
        return f"is {tensor.dtype}, not floating point"
    # A view may repeat a few bytes into a tensor of any size, which a hostile file could use to exhaust memory.
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.untyped_storage().nbytes() < tensor.nbytes:
        return "is not a plain tensor"
    return None


def listing(problems: Sequence[str]) -> str:
    """The problems on one line, whatever names a file has, cut where it would no longer be read."""
    text = "; ".join(problem[:200] for problem in problems[:MOST_PROBLEMS])
    shown = "".join(character if character.isprintable() else "?" for character in text)
    rest = len(problems) - MOST_PROBLEMS
    return f"{shown} and {rest} more" if rest > 0 else shown
