"""The scales of an 8-bit KV cache, from the largest keys and values of each channel."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .passes import Passes, matrices

MARGIN = 1.25  # over the largest value found
_SMALLEST = 1e-6


def cache_scales(passes: Passes) -> Tensor:
    """Return scales [2 * layers, width]: for each layer the scales of its keys, then of its values."""
    found = matrices(passes.module)
    largest: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        if name.endswith(".qkv"):
            seen = F.linear(x, found[name].weight, found[name].bias).abs().amax(0)
            largest[name] = torch.maximum(largest[name], seen) if name in largest else seen

    for index in range(len(passes.module.blocks)):
        passes.inputs(index, see)
    keys_and_values = torch.stack([part for qkv in largest.values() for part in qkv.chunk(3)[1:]])
    return (keys_and_values.clone() * MARGIN / 127).clamp_min(_SMALLEST)
