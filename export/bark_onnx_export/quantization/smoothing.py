"""Smoothing: move what is uneven in activations into the weights, where the function stays the same.

Trained transformers have a few channels that are far larger than the others. If activations are quantised with one
scale for a row, the large channels leave few steps for the small ones. A channel can be divided by a number if the
column of the matrix that reads it is multiplied by the same number, and weights have a scale for each output channel or
block. SmoothQuant (Xiao et al., 2022) shares the unevenness equally: the number is sqrt(a / w), with the channel's
largest activation a and the largest weight w of its column.

    LayerNorm -> qkv, up, head       the gains (and biases) of the LayerNorm are divided
    values -> attention.out          the rows of the values in qkv are divided: attention mixes positions, not channels

The input of mlp.down cannot be smoothed in this way, since GELU is not linear.
"""

import torch
from torch import Tensor

from ..modules.causal import CausalModule
from ..weights.weights import Weights
from .passes import Passes

_SMALLEST = 1e-8


def smoothed(weights: Weights, passes: Passes) -> Weights:
    """Return weights of the same function with activations that are evener over the channels.

    Args:
        weights: of a transformer.
        passes: runs of these weights over calibration prompts.
    """
    largest = largest_inputs(passes)
    tensors = dict(weights.tensors)
    for index in range(len(passes.module.blocks)):
        block = f"blocks.{index}"
        # The values first: they change rows of qkv, and the weights of qkv decide about its LayerNorm.
        out, qkv = f"{block}.attention.out.weight", f"{block}.attention.qkv"
        factors = _factors(largest[f"{block}.attention.out"], tensors[out])
        tensors[out] = tensors[out] * factors
        for name in (f"{qkv}.weight", f"{qkv}.bias"):
            if name in tensors:
                tensors[name] = _divided_values(tensors[name], factors)
        _smooth_norm(tensors, f"{block}.norm_1", qkv, largest)
        _smooth_norm(tensors, f"{block}.norm_2", f"{block}.mlp.up", largest)
    if isinstance(passes.module, CausalModule):
        _smooth_norm(tensors, "norm", "head", largest)
    return Weights(weights.size, tensors)


def largest_inputs(passes: Passes) -> dict[str, Tensor]:
    """Return the largest absolute input [K] of each matrix."""
    largest: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        found = x.abs().amax(0)
        largest[name] = torch.maximum(largest[name], found) if name in largest else found

    for index in range(len(passes.module.blocks)):
        passes.inputs(index, see)
    if isinstance(passes.module, CausalModule):
        passes.head_inputs(see)
    return largest


def _smooth_norm(tensors: dict[str, Tensor], norm: str, matrix: str, largest: dict[str, Tensor]) -> None:
    """Divide the outputs of a LayerNorm, and multiply the columns of the matrix that reads them."""
    weight = f"{matrix}.weight"
    factors = _factors(largest[matrix], tensors[weight])
    tensors[weight] = tensors[weight] * factors
    for name in (f"{norm}.weight", f"{norm}.bias"):
        if name in tensors:
            tensors[name] = tensors[name] / factors


def _divided_values(packed: Tensor, factors: Tensor) -> Tensor:
    """Divide the values in the rows of qkv [3 * D, ...]."""
    width = len(factors)
    queries_and_keys, values = packed[: 2 * width], packed[2 * width :]
    return torch.cat([queries_and_keys, values / factors.view(-1, *[1] * (packed.dim() - 1))])


def _factors(largest: Tensor, weight: Tensor) -> Tensor:
    """Return the factor [K] of each column of a matrix [N, K]; their geometric mean is 1.

    Weights are compared within their rows, since every row has a scale of its own. They are compared with the mean of
    the row, which a few large columns change little.
    """
    rows = weight.abs().mean(1, keepdim=True).clamp_min(_SMALLEST)
    columns = (weight.abs() / rows).amax(0).clamp_min(_SMALLEST)
    factors = (largest.clamp_min(_SMALLEST) / columns).sqrt()
    return factors / factors.log().mean().exp()
