"""Round a matrix to integers and scales.

8 bits are rounded to nearest. 4 bits are rounded by GPTQ (Frantar et al., 2022): column by column. The columns that are
not rounded yet make up for the error of each column, so that the products with the calibration's inputs change least.
On nano this divides the KL divergence of 4-bit matrices by four.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .precision import Form

DAMPING = 0.01  # of the mean diagonal, added to the diagonal: keeps channels apart that the calibration hardly uses
COLUMNS = 128  # columns that are rounded before their error is spread over all later ones
CLIPS = np.linspace(1, 0.6, 9)  # shares of a block's largest weight that may become the largest code
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Rounded:
    """A matrix [N, K] as codes times scales.

    Attributes:
        form: its format.
        codes: [N, K] int8, from -8 to 7 for 4 bits and from -128 to 127 for 8.
        scales: [N, blocks] float32; one block for a format without blocks.
    """

    form: Form
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    def weight(self) -> Tensor:
        """The matrix [N, K] that the codes stand for, in fp32."""
        codes = torch.from_numpy(self.codes).float()
        return codes * _spread(torch.from_numpy(self.scales), codes.shape[1], self.form)


def round_matrix(weight: Tensor, form: Form, hessian: Tensor | None = None) -> Rounded:
    """Round a matrix.

    Args:
        weight: [N, K] float32.
        form: the format.
        hessian: [K, K], the sum of x x^T over the calibration's inputs x; needed for 4 bits.
    """
    if form.block is None:
        scales = weight.abs().amax(1, keepdim=True).clamp_min(_SMALLEST) / 127
        codes = (weight / scales).round().clamp(-127, 127)
    elif form.bits == 8:
        scales = _block_scales(weight, form)
        codes = (weight / _spread(scales, weight.shape[1], form)).round().clamp(-128, 127)
    else:
        assert hessian is not None
        codes, scales = _gptq(weight, form, hessian)
    return Rounded(form, codes.to(torch.int8).numpy(), scales.float().contiguous().numpy())


def _blocks(weight: Tensor, form: Form) -> Tensor:
    """[N, K] -> [N, blocks, block], padded with zeros."""
    assert form.block is not None
    padded = F.pad(weight, (0, -weight.shape[1] % form.block))
    return padded.view(len(weight), -1, form.block)


def _spread(scales: Tensor, width: int, form: Form) -> Tensor:
    """Scales [N, blocks] -> a scale for each weight [N, K], or for each row [N, 1]."""
    return scales if form.block is None else scales.repeat_interleave(form.block, 1)[:, :width]


def _block_scales(weight: Tensor, form: Form) -> Tensor:
    """Scales [N, blocks] with which a block's largest weight, of either sign, becomes the lowest code."""
    blocks = _blocks(weight, form)
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True)).squeeze(-1)
    scales: Tensor = torch.where(largest.abs() < _SMALLEST, _SMALLEST, largest) / -(2 ** (form.bits - 1))
    return scales


def _clipped_scales(weight: Tensor, form: Form, importance: Tensor) -> Tensor:
    """Scales [N, blocks] with the least squared error, weighted by the importance [K] of each column."""
    blocks, most = _blocks(weight, form), 2 ** (form.bits - 1)
    weights, full = _blocks(importance[None], form), _block_scales(weight, form)
    best, scales = torch.full_like(full, torch.inf), full
    for clip in CLIPS:
        tried = full * clip
        rounded = (blocks / tried[..., None]).round().clamp(-most, most - 1) * tried[..., None]
        error = ((rounded - blocks).square() * weights).sum(-1)
        scales = torch.where(error < best, tried, scales)
        best = torch.minimum(best, error)
    return scales


def _gptq(weight: Tensor, form: Form, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [N, K] and scales [N, blocks]."""
    assert form.block is not None
    width, most = weight.shape[1], 2 ** (form.bits - 1)
    curvature = hessian.double()
    curvature = curvature + DAMPING * curvature.diagonal().mean().clamp_min(_SMALLEST) * torch.eye(width).double()
    scales = _clipped_scales(weight, form, curvature.diagonal().float())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
    upper = torch.linalg.cholesky(inverse, upper=True).float()
    left, codes = weight.clone(), torch.empty_like(weight)
    for start in range(0, width, COLUMNS):
        end = min(start + COLUMNS, width)
        errors = torch.empty(len(weight), end - start)
        for column in range(start, end):
            scale = scales[:, column // form.block]
            codes[:, column] = (left[:, column] / scale).round().clamp(-most, most - 1)
            error = (left[:, column] - codes[:, column] * scale) / upper[column, column]
            left[:, column + 1 : end] -= error[:, None] * upper[column, column + 1 : end]
            errors[:, column - start] = error
        left[:, end:] -= errors @ upper[start:end, end:]
    return codes, scales
