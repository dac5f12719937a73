"""Attention that begins where it belongs.

In a coarse context the code at position 257 + p sounds at semantic token p / 3.006, always. In a semantic context the
token at 257 + t is spoken of a character near t / 3.6, give or take a dozen. A transformer finds such diagonals only
after thousands of steps. Here position embeddings begin as sinusoids of that common time, and some heads begin with
queries and keys that compare them, sharply or broadly, at small offsets.

In the semantic model the second layer looks broadly about the place, which what was said so far must narrow down, and
writes the place that it finds into the residual stream; from there the later layers look at the characters just there
and just after. It is nothing but an initialisation: training goes on from it, on all weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from bark_onnx_export.modules.block import Block

from .transformer import Causal
from .units import VOCABULARY

CHARACTERS_PER_TOKEN = 1 / 3.6
_LEADING_PAUSE = 8  # semantic tokens
_AMPLITUDE = 0.7
_SOURCE, _ONE, _PLACE = 0, 1, 2  # dimensions: which region, a constant, and from here on the sinusoids
_PAIRS = 16
_FOUND = _PLACE + 2 * _PAIRS  # from here on, the place that a layer has found
_USED = {"semantic": _FOUND + 2 * _PAIRS, "coarse": _FOUND}


@dataclass(frozen=True)
class Look:
    """A head that begins by looking `offset` (in source positions) away, at the source or at what was generated.

    Args:
        width: the standard deviation of where it looks.
        found: the offset is from the place that a layer before has found, not from the position's own.
        finds: it writes the place where it looks.
    """

    offset: float
    source: bool = True
    width: float = 0.4
    found: bool = False
    finds: bool = False


LOOKS: dict[str, Sequence[Sequence[Look]]] = {
    "semantic": (
        (Look(-0.3, source=False), Look(-1, source=False), Look(-2.2, source=False)),
        (Look(0, width=7, finds=True), Look(1, width=4), Look(-1, source=False)),
        (Look(0, found=True), Look(1, found=True), Look(2, found=True)),
        (Look(0, found=True), Look(1, found=True)),
    ),
    "coarse": (
        (Look(0), Look(2), Look(-0.3, source=False)),
        (Look(0), Look(5), Look(-0.7, source=False)),
        (Look(0), Look(-2)),
    ),
}


def align(module: Causal, stage: str) -> None:
    """Initialise position embeddings and heads of the semantic or the coarse model in place."""
    size = module.size
    time, source = _coordinates(size.context, stage)
    shortest = {"semantic": 3.0, "coarse": 1.2}[stage]
    frequencies = 2 * torch.pi / torch.logspace(0, 1, _PAIRS, base=500 / shortest).mul(shortest)
    angles = time[:, None] * frequencies
    with torch.no_grad():
        positions = module.position_embedding.weight
        positions[:, _SOURCE] = torch.where(source, 1.0, -1.0) * _AMPLITUDE
        positions[:, _ONE] = _AMPLITUDE
        positions[:, _PLACE:_FOUND] = torch.cat([angles.sin(), angles.cos()], 1) * _AMPLITUDE * 2**0.5
        module.token_embedding.weight[:, : _USED[stage]] = 0
        blocks = cast(list[Block], module.blocks)
        for block in blocks:  # nothing else is written there at first
            block.attention.get_parameter("out.weight")[: _USED[stage]] = 0
            block.mlp.get_parameter("down.weight")[: _USED[stage]] = 0
        for block, looks in zip(blocks, LOOKS[stage], strict=False):
            weight = block.attention.get_parameter("qkv.weight").view(3, size.heads, size.head_size, size.width)
            out = block.attention.get_parameter("out.weight").view(size.width, size.heads, size.head_size)
            for head, look in enumerate(looks):
                _compare(look, frequencies, weight[0, head], weight[1, head])
                if look.finds:
                    row = torch.arange(2 * _PAIRS)
                    weight[2, head, row] = torch.eye(size.width)[_PLACE:_FOUND]
                    out[_FOUND + row, head] = torch.eye(size.head_size)[row]


def _coordinates(context: int, stage: str) -> tuple[Tensor, Tensor]:
    """Of each position: its time in source positions, and whether it is source."""
    position = torch.arange(context, dtype=torch.float32)
    window = VOCABULARY.text_window if stage == "semantic" else VOCABULARY.coarse_semantic_window
    source = position < window
    after = position - window  # what follows the position there
    if stage == "semantic":
        generated = (after - _LEADING_PAUSE) * CHARACTERS_PER_TOKEN
    else:
        generated = after / VOCABULARY.coarse_per_semantic
    return torch.where(source, position, generated), source


def _compare(look: Look, frequencies: Tensor, query: Tensor, key: Tensor) -> None:
    """Set query and key rows [head_size, width]: their product is largest where key time = query time + offset.

    The frequencies' weights are those of a Gaussian's spectrum; what is left of the rows stays random.
    """
    row, rest, scale = torch.arange(_PAIRS), 2 * _PAIRS + 1, len(query) ** 0.5
    weights = (-0.5 * (frequencies * look.width) ** 2).exp()
    peak = 12.0 if look.width < 1 else 4.0
    gain = (peak * scale * weights / weights.sum() / 2).sqrt()
    cos, sin = gain * (frequencies * look.offset).cos(), gain * (frequencies * look.offset).sin()
    query[:rest], key[:rest] = 0, 0
    sines = (_FOUND if look.found else _PLACE) + row
    cosines = sines + _PAIRS
    query[row, sines], query[row, cosines] = cos, sin  # sin(a + b)
    query[_PAIRS + row, cosines], query[_PAIRS + row, sines] = cos, -sin  # cos(a + b)
    key[row, _PLACE + row] = key[_PAIRS + row, _PLACE + _PAIRS + row] = gain
    region = (8.0 * scale) ** 0.5
    query[2 * _PAIRS, _ONE], key[2 * _PAIRS, _SOURCE] = region, region if look.source else -region
