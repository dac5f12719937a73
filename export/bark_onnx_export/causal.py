"""The causal decoder (semantic, coarse) as it is exported: one graph for prefill and decode step.

Prefill is compute-bound (hundreds of positions at once). A decode step is bound by memory bandwidth: it reads every
weight once for each token. So the head computes only the ids that can be sampled, for the last position only, and
appends to the KV cache in place.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bark_onnx.model.sizes import TransformerSize

from .attention import LayerCache, causal_attention
from .block import LAYER_NORM_EPS, Block


class CausalModule(nn.Module):
    """Token ids in; logits of the last position and the updated KV cache out.

    Args:
        size: the checkpoint's sizes.
        sampled: the output ids that can be sampled; the head keeps only these rows.
        bias: whether linear layers and LayerNorms have biases (the published checkpoints have none).
        layout: the KV layout that is exported.
    """

    def __init__(self, size: TransformerSize, sampled: Sequence[int], *, bias: bool, layout: str) -> None:
        super().__init__()
        self.heads, self.layout = size.heads, layout
        # One embedding more than the vocabulary, all zeros: the id that adds no history.
        self.token_embedding = nn.Embedding(size.input_vocabulary + 1, size.width)
        self.position_embedding = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size.width, bias=bias, norm_bias=bias) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=LAYER_NORM_EPS, bias=bias)
        self.head = nn.Linear(size.width, len(sampled), bias=False)

    @classmethod
    def from_tensors(
        cls, size: TransformerSize, tensors: dict[str, Tensor], sampled: Sequence[int], layout: str
    ) -> "CausalModule":
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
            Logits [B, len(sampled)], then each layer's key and value as in `past`.
        """
        dtype = self.norm.weight.dtype  # embeddings may be stored narrower
        x = self.token_embedding(input_ids).to(dtype) + self.token_embedding(history_ids).to(dtype)
        x = x + self.position_embedding(position_ids).to(dtype)
        present: list[Tensor] = []
        for block, key, value in zip(cast(list[Block], self.blocks), past[::2], past[1::2], strict=True):
            attended, cache = causal_attention(
                block.qkv(x), LayerCache(key, value), lengths, total, self.heads, self.layout
            )
            present += cache
            if block is self.blocks[-1]:  # only the last position's output of the last block is used
                x, attended = x[:, -1:], attended[:, -1:]
            x = block.finish(x, attended)
        logits = self.head(self.norm(x))  # with three dimensions it stays a MatMul, which the quantizers support
        return logits.squeeze(1).float(), *present


class CacheQuantizer(nn.Module):
    """Quantises a KV cache of fp32 to 8 bits, with the rounding and the bounds of the attention's operator.

    Args:
        scales: [2 * layers, heads * head_size], for each layer's keys and then its values.
    """

    def __init__(self, scales: Tensor, heads: int) -> None:
        super().__init__()
        self.register_buffer("scales", scales.view(len(scales), heads, 1, -1), persistent=False)

    def forward(self, *past: Tensor) -> tuple[Tensor, ...]:
        """Each layer's key and value in turn, [B, heads, context, head_size], to the same in int8."""
        scales = cast(Tensor, self.scales)
        return tuple(_to_int8(x / scale) for x, scale in zip(past, scales, strict=True))


def _to_int8(x: Tensor) -> Tensor:
    if not torch.compiler.is_exporting():
        return x.round().clamp(-128, 127).to(torch.int8)
    one, zero = torch.tensor(1.0), torch.tensor(0, dtype=torch.int8)
    return torch.onnx.ops.symbolic("QuantizeLinear", [x, one, zero], dtype=torch.int8, shape=x.shape, version=19)
