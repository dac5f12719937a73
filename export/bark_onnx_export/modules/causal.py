"""The causal transformer (semantic, coarse) for export: one graph for prefills and decode steps.

Prefill is compute-bound (hundreds of positions at once). A decode step is bound by memory bandwidth: it reads every
weight once for each token. The graph therefore computes logits of the last position only, of the ids that can be
sampled only, and appends to the KV cache in place.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bark_onnx.model.sizes import TransformerSize

from .attention import LayerCache, causal_attention
from .block import LAYER_NORM_EPS, Block


class CausalModule(nn.Module):
    """Computes logits of the last position and the new KV cache from token ids and the old KV cache.

    Args:
        size: the checkpoint's sizes.
        sampled: the output ids that can be sampled; the head has only these rows.
        bias: whether linear layers and LayerNorms have biases (the published checkpoints have none).
        kv_layout: `static` or `portable`: the form of attention that is exported.
    """

    def __init__(self, size: TransformerSize, sampled: Sequence[int], *, bias: bool, kv_layout: str) -> None:
        super().__init__()
        self.heads, self.context, self.kv_layout = size.heads, size.context, kv_layout
        # One more embedding than the vocabulary has. It is zero: its id stands for no history.
        self.token_embedding = nn.Embedding(size.input_vocabulary + 1, size.width)
        self.position_embedding = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size.width, bias=bias, norm_bias=bias) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=LAYER_NORM_EPS, bias=bias)
        self.head = nn.Linear(size.width, len(sampled), bias=False)

    @classmethod
    def from_tensors(
        cls, size: TransformerSize, tensors: dict[str, Tensor], sampled: Sequence[int], kv_layout: str
    ) -> "CausalModule":
        """Return a module that uses a checkpoint's tensors without copying them, except the embeddings and the head."""
        tokens = tensors["token_embedding.weight"]
        own = {
            "token_embedding.weight": torch.cat([tokens, tokens.new_zeros(1, size.width)]),
            "head.weight": tensors["head.weight"][torch.tensor(sampled)],
        }
        with torch.device("meta"):
            module = cls(size, sampled, bias="blocks.0.attention.qkv.bias" in tensors, kv_layout=kv_layout)
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
        """Run a prefill or a decode step.

        Args:
            input_ids, history_ids, position_ids: [B, S]; the embeddings of the three are summed. A position is also the
                index of its keys and values in the KV cache.
            lengths: [B] int32, the index of each row's last position after this call.
            total: [] int32, the longest row's number of positions after this call.
            past: each layer's keys, then its values, [B, heads, context, head_size].

        Returns:
            Logits [B, len(sampled)] float32, then the KV cache as in `past`, with these positions appended.
        """
        x = self.embed(input_ids, history_ids, position_ids)
        present: list[Tensor] = []
        for block, key, value in zip(cast(list[Block], self.blocks), past[::2], past[1::2], strict=True):
            attended, cache = causal_attention(
                block.qkv(x), LayerCache(key, value), position_ids, lengths, total, self.heads, self.kv_layout
            )
            present += cache
            if block is self.blocks[-1]:  # nothing reads the last block's other positions
                x, attended = x[:, -1:], attended[:, -1:]
            x = block.finish(x, attended)
        logits = self.logits(x)  # of three dimensions: with two the head would become a Gemm instead of a MatMul
        return logits.squeeze(1).float(), *present

    def embed(self, input_ids: Tensor, history_ids: Tensor, position_ids: Tensor) -> Tensor:
        """Ids and positions [B, S] -> the input [B, S, D] of the first block."""
        dtype = self.norm.weight.dtype  # embeddings may be stored in 16 bits
        x = self.token_embedding(input_ids).to(dtype) + self.token_embedding(history_ids).to(dtype)
        return x + self.position_embedding(position_ids).to(dtype)  # type: ignore[no-any-return]

    def logits(self, x: Tensor) -> Tensor:
        """The output of the last block [B, S, D] -> logits [B, S, len(sampled)]."""
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class CacheQuantizer(nn.Module):
    """Quantises an fp32 KV cache to 8 bits, with the rounding and the limits of GroupQueryAttention.

    Args:
        step: the value of one step of the 8 bits.
    """

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step = step

    def forward(self, *past: Tensor) -> tuple[Tensor, ...]:
        """Each layer's keys, then its values, [B, heads, context, head_size] -> the same in int8."""
        return tuple(_to_int8(x, self._step) for x in past)


def _to_int8(x: Tensor, step: float) -> Tensor:
    """Round to int8; exported as QuantizeLinear, whose rounding is the same."""
    if not torch.compiler.is_exporting():
        return (x / step).round().clamp(-128, 127).to(torch.int8)
    scale, zero = torch.tensor(step), torch.tensor(0, dtype=torch.int8)
    return torch.onnx.ops.symbolic("QuantizeLinear", [x, scale, zero], dtype=torch.int8, shape=x.shape, version=19)
