"""The torch modules of the graphs that sample tokens on a device.

They follow the rules of `bark_onnx.sampling.distribution`, in the same 64-bit arithmetic, so that a seed gives the same
tokens as on the host for the same logits.

They use standard operators only. CUDA's CumSum adds up all elements before each element, so its work grows with the
square of their number. Cumulative sums are therefore computed in short blocks, and then over the blocks' totals.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCK = 128  # elements of a cumulative sum
_NOT_NUMBERS = -1


class Sampler(nn.Module):
    """Samples one id for each row of logits.

    Args:
        choices: logits of a row.
        first_id: the id of the first logit.
        top_k_top_p: whether the graph has top-k and top-p, for which it must sort the choices.
    """

    def __init__(self, choices: int, first_id: int, *, top_k_top_p: bool) -> None:
        super().__init__()
        self.choices, self.first_id, self.top_k_top_p = choices, first_id, top_k_top_p

    def forward(
        self,
        logits: Tensor,
        uniforms: Tensor,
        firsts: Tensor,
        widths: Tensor,
        temperatures: Tensor,
        ends: Tensor,
        min_eos_ps: Tensor,
        top_ks: Tensor | None = None,
        top_ps: Tensor | None = None,
    ) -> Tensor:
        """Sample ids [B, 1] from logits [B, V]; an id is -1 if its logits have a NaN or no finite maximum.

        Args:
            logits: float32.
            uniforms: [B] float64, uniform random numbers in [0, 1).
            firsts, widths: [B] int64: the choices [first, first + width) can be sampled.
            temperatures: [B] float64; 0 selects the largest logit.
            ends: [B] int64, the choice that ends the sequence; -1 for none.
            min_eos_ps: [B] float64: an end with at least this probability is always chosen; infinity switches this off.
            top_ks: [B] int64, from 1 to the number of choices, which keeps all of them.
            top_ps: [B] float64; infinity keeps all choices.
        """
        places = torch.arange(self.choices)
        allowed = (places >= firsts[:, None]) & (places < (firsts + widths)[:, None])
        wide = logits.double()
        x = torch.where(allowed, wide, -torch.inf)
        largest = x.amax(-1, keepdim=True)
        valid = _are_numbers(x, largest)
        x = torch.where(valid, x - largest, 0.0)
        if self.top_k_top_p:
            assert top_ks is not None
            assert top_ps is not None
            x = _keep_top(x, top_ks, top_ps)
        greedy = temperatures[:, None] == 0
        weights = (x / torch.where(greedy, 1.0, temperatures[:, None])).exp()
        one_hot = (places == x.argmax(-1, keepdim=True)).double()
        weights = torch.where(greedy, one_hot, weights)
        choice = torch.minimum(pick(weights, uniforms), firsts + widths - 1)
        end = torch.where(ends[:, None] == places, weights, 0.0).sum(-1)
        ended = (ends >= 0) & (end >= min_eos_ps * weights.sum(-1))
        ids = torch.where(ended, ends, choice) + self.first_id
        return torch.where(valid, ids[:, None], _NOT_NUMBERS)


class FineSampler(nn.Module):
    """Samples the codes of one codebook in all frames of a window from a given frame on."""

    def forward(
        self, logits: Tensor, codes: Tensor, codebook: Tensor, fills: Tensor, uniforms: Tensor, temperatures: Tensor
    ) -> Tensor:
        """Return the codes with one codebook sampled; a code is -1 if its logits have a NaN or no finite maximum.

        Args:
            logits: [B, T, V] float32.
            codes: [B, T, codebooks] int64.
            codebook: [] int64, the codebook to sample.
            fills: [B] int64, the first frame to sample in each row.
            uniforms: [B, T] float64, uniform random numbers in [0, 1); those before `fills` are not used.
            temperatures: [B] float64; 0 selects the largest logit.

        Returns:
            [B, T, codebooks] int64.
        """
        batch, length, choices = logits.shape
        x = logits.double()
        largest = x.amax(-1, keepdim=True)
        valid = _are_numbers(x, largest)
        x = torch.where(valid, x - largest, 0.0)
        temperature = temperatures[:, None, None]
        weights = (x / torch.where(temperature == 0, 1.0, temperature)).exp()
        sampled = pick(weights.view(batch * length, choices), uniforms.reshape(-1)).view(batch, length)
        chosen = torch.where(temperatures[:, None] == 0, x.argmax(-1), sampled)
        chosen = torch.where(valid[..., 0], chosen, _NOT_NUMBERS)
        own = torch.arange(codes.shape[2]) == codebook
        new = torch.arange(length)[None] >= fills[:, None]
        return torch.where(new[..., None] & own, chosen[..., None], codes)


def _are_numbers(x: Tensor, largest: Tensor) -> Tensor:
    """Return [..., 1]: whether x [..., V] has no NaN and its largest element is finite."""
    return (largest.abs() < torch.inf) & (x.isnan().sum(-1, keepdim=True) == 0)


def pick(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Sample choices [B] from weights [B, V] by inverse CDF, with uniform random numbers [B]."""
    choices = weights.shape[1]
    blocks = F.pad(weights, (0, -choices % _BLOCK)).view(weights.shape[0], -1, _BLOCK)
    within = blocks.cumsum(-1)
    ends = within[..., -1].cumsum(-1)
    before = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], dim=1)
    cumulative = (before[..., None] + within).flatten(1)
    target = uniforms[:, None] * ends[:, -1:]
    chosen: Tensor = (cumulative <= target).sum(-1).clamp(max=choices - 1)
    return chosen


def _keep_top(x: Tensor, top_ks: Tensor, top_ps: Tensor) -> Tensor:
    """Set logits x [B, V], of which the largest is 0, to -inf where top-p and then top-k exclude a choice."""
    ranked, order = x.topk(x.shape[1], dim=-1)
    mass = ranked.exp().cumsum(-1)
    crossed = mass > top_ps[:, None] * mass[:, -1:]
    outside = torch.cat([torch.zeros_like(crossed[:, :1]), crossed[:, :-1]], dim=1)
    ranked = ranked.masked_fill(outside, -torch.inf)
    kth = ranked.gather(1, top_ks[:, None] - 1)
    ranked = ranked.masked_fill(ranked < kth, -torch.inf)
    return torch.zeros_like(x).scatter(1, order, ranked)
