"""An 8-bit KV cache with one scale: keys and values are first made equally large in all channels.

A channel of the keys can be divided by a number if that channel of the queries is multiplied by it, since attention
multiplies the two. A channel of the values can be divided if the column of the output projection that reads it is
multiplied. Both change rows of qkv, which have scales of their own, and so cost no precision there. A decode step takes
0.9 to 0.95 of the time with one scale, compared with a scale for each channel.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..weights.weights import Weights
from .passes import Passes, matrices

CACHE_STEP = 1.25 / 127  # the codes end at 1.25 times the largest value of the calibration
_SMALLEST = 1e-6


def with_even_cache(weights: Weights, passes: Passes) -> Weights:
    """Return weights of the same function whose largest key and value of each channel is 1.

    Args:
        weights: of a causal transformer.
        passes: runs of these weights over calibration prompts.
    """
    tensors = dict(weights.tensors)
    for index in range(len(passes.module.blocks)):
        block = f"blocks.{index}.attention"
        keys, values = _largest(passes, index)
        factors = torch.cat([keys, 1 / keys, 1 / values])
        for name in (f"{block}.qkv.weight", f"{block}.qkv.bias"):
            if name in tensors:
                tensors[name] = tensors[name] * factors.view(-1, *[1] * (tensors[name].dim() - 1))
        tensors[f"{block}.out.weight"] = tensors[f"{block}.out.weight"] * values
    return Weights(weights.size, tensors)


def _largest(passes: Passes, index: int) -> tuple[Tensor, Tensor]:
    """Return the largest absolute key [D] and value [D] of a block."""
    found = matrices(passes.module)
    largest: list[Tensor] = []

    def see(name: str, x: Tensor) -> None:
        if name.endswith(".qkv"):
            largest.append(F.linear(x, found[name].weight, found[name].bias).abs().amax(0))

    passes.inputs(index, see)
    _, keys, values = torch.stack(largest).amax(0).clamp_min(_SMALLEST).chunk(3)
    return keys, values
