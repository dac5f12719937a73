"""The causal decoder (semantic, coarse) as it is exported: one graph for prefill and decode step.

Prefill is compute-bound (hundreds of positions at once); a decode step is bound by the bandwidth that reads every
weight once per token. So the head computes only rows that can be sampled, for the last position only, and the KV cache
is appended to in place.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bark_onnx.sizes import TransformerSize

from .attention import KVCache, causal_attention
from .block import LAYER_NORM_EPS, Block


class CausalDecoder(nn.Module):
    """Token ids in; logits of the last position and the updated KV cache out.

    Args:
        size: the checkpoint's sizes.
        sampled: the output ids that can be sampled; the head keeps only these rows.
        bias: whether linear layers and LayerNorms have biases (the published checkpoints have none).
        layout: the KV layout that is exported.

    `cache_scales` [2 * layers, width], if they are set, have it return the new keys and values in 8 bits too.
    """

    cache_scales: Tensor | None

    def __init__(self, size: TransformerSize, sampled: Sequence[int], *, bias: bool, layout: str) -> None:
        super().__init__()
        self.heads, self.layout = size.heads, layout
        self.register_buffer("cache_scales", None, persistent=False)
        # One row more than the vocabulary, all zero, so that "no history here" is an id like any other.
        self.token_embedding = nn.Embedding(size.input_vocabulary + 1, size.width)
        self.position_embedding = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size.width, bias=bias, norm_bias=bias) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=LAYER_NORM_EPS, bias=bias)
        self.head = nn.Linear(size.width, len(sampled), bias=False)

    @classmethod
    def from_tensors(
        cls, size: TransformerSize, tensors: dict[str, Tensor], sampled: Sequence[int], layout: str
    ) -> "CausalDecoder":
        """The module around a checkpoint's tensors."""
        tokens = tensors["token_embedding.weight"]
        own = {
            "token_embedding.weight": torch.cat([tokens, tokens.new_zeros(1, size.width)]),
            "head.weight": tensors["head.weight"][torch.tensor(sampled)],
        }
        with torch.device("meta"):
            module = cls(size, sampled, bias="blocks.0.attention.qkv.bias" in tensors, layout=layout)
        module.load_state_dict(tensors | own, assign=True)
        return module.eval().requires_grad_(False)

    def forward(
        self,
        input_ids: Tensor,
        history_ids: Tensor,
        position_ids: Tensor,
        lengths: Tensor,
        total: Tensor,
        *past: Tensor,
    ) -> tuple[Tensor, ...]:
        """One prefill or decode step.

        Args:
            input_ids, history_ids, position_ids: [B, S]; the embeddings of the three are summed.
            lengths: [B] int32, the index of each row's last position after this call.
            total: [] int32, the longest row's number of positions after this call.
            past: each layer's key and value in turn, [B, heads, context, head_size].

        Returns:
            Logits [B, len(sampled)], then each layer's key and value as in `past`; with `cache_scales`, then those of
            the new positions alone, int8 [B, S, width].
        """
        dtype = self.norm.weight.dtype  # embeddings may be stored narrower
        x = self.token_embedding(input_ids).to(dtype) + self.token_embedding(history_ids).to(dtype)
        x = x + self.position_embedding(position_ids).to(dtype)
        present: list[Tensor] = []
        narrow: list[Tensor] = []
        for block, key, value in zip(cast(list[Block], self.blocks), past[::2], past[1::2], strict=True):
            qkv = block.qkv(x)
            attended, cache = causal_attention(qkv, KVCache(key, value), lengths, total, self.heads, self.layout)
            if self.cache_scales is not None:
                halves, scales = qkv.chunk(3, dim=-1)[1:], self.cache_scales[len(present) : len(present) + 2]
                narrow += [to_int8(half, scale) for half, scale in zip(halves, scales, strict=True)]
            present += cache
            if block is self.blocks[-1]:  # of the last block, only the last position's output is read
                x, attended = x[:, -1:], attended[:, -1:]
            x = block.finish(x, attended)
        logits = self.head(self.norm(x))  # three dimensions keep it a MatMul, which the quantizers know
        return logits.squeeze(1).float(), *present, *narrow


def to_int8(x: Tensor, scales: Tensor) -> Tensor:
    """x [..., width] over scales [width], rounded and bounded as the attention's operator does it."""
    return (x / scales).round().clamp(-128, 127).to(torch.int8)
