"""Initialise attention so that some heads already attend to the right place.

In a coarse context, the code at position 257 + p always belongs to semantic token p / 3.006. In a semantic context, the
token at 257 + t belongs to a character near t / 3.6, with an error of about a dozen characters. A transformer learns
such diagonals only after thousands of steps. So position embeddings are initialised with sinusoids of this common time,
and the queries and keys of some heads so that they compare the sinusoids at a small offset, with a narrow or a wide
peak.

In the semantic model, one head of the second layer attends broadly around the expected place; training makes it more
precise with the help of the tokens generated so far. It writes the place it finds into the residual stream. Heads of
the later layers attend to the characters at this place and just after it. All this is only an initialisation: training
changes all weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from bark_onnx_export.modules.block import Block

from ..units import VOCABULARY
from .transformer import Causal

CHARACTERS_PER_TOKEN = 1 / 3.6
_LEADING_PAUSE = 8  # semantic tokens before the first character is spoken
_AMPLITUDE = 0.7
_SOURCE, _ONE, _PLACE = 0, 1, 2  # dimensions of the residual stream: source or generated, a constant, the sinusoids
_PAIRS = 16  # of sine and cosine
_FOUND = _PLACE + 2 * _PAIRS  # from here on: the sinusoids of the place that a layer found
_USED = {"semantic": _FOUND + 2 * _PAIRS, "coarse": _FOUND}


@dataclass(frozen=True)
class Look:
    """The initial direction of a head's attention.

    Args:
        offset: where it attends, in source positions relative to its own time.
        source: True to attend to the source (text or semantic tokens), False to attend to generated tokens.
        width: the standard deviation of the place, in source positions.
        found: True if the offset is relative to the place that an earlier layer found.
        finds: True if the head writes the place to which it attends into the residual stream.
    """

    offset: float
    source: bool = True
    width: float = 0.4
    found: bool = False
    finds: bool = False


# By layer and head.
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
    shortest = {"semantic": 3.0, "coarse": 1.2}[stage]  # period, in source positions
    frequencies = 2 * torch.pi / torch.logspace(0, 1, _PAIRS, base=500 / shortest).mul(shortest)
    angles = time[:, None] * frequencies
    with torch.no_grad():
        positions = module.position_embedding.weight
        positions[:, _SOURCE] = torch.where(source, 1.0, -1.0) * _AMPLITUDE
        positions[:, _ONE] = _AMPLITUDE
        positions[:, _PLACE:_FOUND] = torch.cat([angles.sin(), angles.cos()], 1) * _AMPLITUDE * 2**0.5
        module.token_embedding.weight[:, : _USED[stage]] = 0
        blocks = cast(list[Block], module.blocks)
        for block in blocks:  # at first, nothing else writes to these dimensions
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
    """Return the time of each position in source positions, and whether the position belongs to the source."""
    position = torch.arange(context, dtype=torch.float32)
    window = VOCABULARY.text_window if stage == "semantic" else VOCABULARY.coarse_semantic_window
    source = position < window
    following = position - window  # the number of the token that is predicted at the position
    if stage == "semantic":
        generated = (following - _LEADING_PAUSE) * CHARACTERS_PER_TOKEN
    else:
        generated = following / VOCABULARY.coarse_per_semantic
    return torch.where(source, position, generated), source


def _compare(look: Look, frequencies: Tensor, query: Tensor, key: Tensor) -> None:
    """Set query and key rows [head_size, width] so that their product is largest at key time = query time + offset.

    The frequencies are weighted with the spectrum of a Gaussian. The other rows keep their random values.
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
