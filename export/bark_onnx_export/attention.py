"""The two attentions of Bark, each twice: plain torch when a module is run, one ONNX Runtime operator when exported.

The operators are those of the *static* KV layout: `com.microsoft::GroupQueryAttention` appends to a cache whose past
and present are one preallocated buffer. A *portable* layout, of standard operators, will export other branches here.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class KVCache(NamedTuple):
    """One layer's keys and values, each [B, heads, context, head_size]."""

    key: Tensor
    value: Tensor


def causal_attention(qkv: Tensor, cache: KVCache, lengths: Tensor, total: Tensor, heads: int) -> tuple[Tensor, KVCache]:
    """Attention of new positions to those in the cache and, causally, to each other.

    Args:
        qkv: [B, S, 3 * width], packed.
        cache: the positions before these.
        lengths: [B] int32, the index of each row's last position after this call.
        total: [] int32, the longest row's number of positions after this call.
        heads: number of heads; as many for keys as for queries.

    Returns:
        The attended values [B, S, width], and the cache with these positions appended.
    """
    batch, length, packed = qkv.shape
    if torch.compiler.is_exporting():
        attended, key, value = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::GroupQueryAttention",
            [qkv, None, None, cache.key, cache.value, lengths, total],
            attrs={"num_heads": heads, "kv_num_heads": heads},
            dtypes=[qkv.dtype, cache.key.dtype, cache.value.dtype],
            shapes=[(batch, length, packed // 3), cache.key.shape, cache.value.shape],
            version=1,
        )
        return attended, KVCache(key, value)

    q, k, v = split_heads(qkv, heads)
    context = cache.key.shape[2]
    new = lengths[:, None] - length + 1 + torch.arange(length)  # [B, S]: where each new position stands in the cache
    slot = new[:, None, :, None].expand_as(k)
    cache = KVCache(cache.key.scatter(2, slot, k), cache.value.scatter(2, slot, v))
    visible = torch.arange(context) <= new[:, None, :, None]  # [B, 1, S, context]
    return join_heads(F.scaled_dot_product_attention(q, cache.key, cache.value, attn_mask=visible)), cache


def full_attention(qkv: Tensor, heads: int) -> Tensor:
    """Attention of every position to every other: qkv [B, T, 3 * width] -> [B, T, width]."""
    batch, length, packed = qkv.shape
    if torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            list(torch.split(qkv, packed // 3, dim=-1)),
            attrs={"num_heads": heads},
            dtype=qkv.dtype,
            shape=(batch, length, packed // 3),
            version=1,
        )
    return join_heads(F.scaled_dot_product_attention(*split_heads(qkv, heads)))


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """[B, S, 3 * heads * D] -> query, key and value, each [B, heads, S, D]."""
    batch, length, _ = qkv.shape
    q, k, v = qkv.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def join_heads(x: Tensor) -> Tensor:
    """[B, heads, S, D] -> [B, S, heads * D]."""
    return x.transpose(1, 2).flatten(2)
