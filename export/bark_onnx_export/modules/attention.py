"""The attention of Bark's transformers: causal with a KV cache, and full. Each can be exported in two forms.

The *static* KV layout exports operators of ONNX Runtime. `com.microsoft::GroupQueryAttention` appends to a cache of
which past and present are one preallocated buffer, and reads only the positions that are filled.

The *portable* KV layout exports standard operators, for TensorRT and other runtimes. The present is the past with the
new positions scattered into it; both may be one buffer. Scores of positions that are not filled are masked. torch
always runs this form.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class LayerCache(NamedTuple):
    """One layer's keys and values, each [B, heads, context, head_size]."""

    key: Tensor
    value: Tensor


def causal_attention(
    qkv: Tensor, cache: LayerCache, positions: Tensor, lengths: Tensor, total: Tensor, heads: int, kv_layout: str
) -> tuple[Tensor, LayerCache]:
    """Attend from new positions to those in the cache and, with a causal mask, to each other.

    Args:
        qkv: [B, S, 3 * width], packed.
        cache: keys and values of the positions before these.
        positions: [B, S] int64, the index of each new position in the cache. The portable form reads these, and not
            `lengths`: to compute them it would need the length S as a tensor, which ONNX Runtime keeps on the CPU, and
            then CUDA could not record a decode step.
        lengths: [B] int32, the index of each row's last position after this call.
        total: [] int32, the longest row's number of positions after this call.
        heads: the number of heads, the same for queries and keys.
        kv_layout: `static` or `portable`: the form that is exported.

    Returns:
        The attended values [B, S, width], and the cache with these positions appended.
    """
    batch, length, packed = qkv.shape
    if kv_layout == "static" and torch.compiler.is_exporting():
        attended, key, value = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::GroupQueryAttention",
            [qkv, None, None, cache.key, cache.value, lengths, total],
            attrs={"num_heads": heads, "kv_num_heads": heads},
            dtypes=[qkv.dtype, cache.key.dtype, cache.value.dtype],
            shapes=[(batch, length, packed // 3), cache.key.shape, cache.value.shape],
            version=1,
        )
        return attended, LayerCache(key, value)

    q, k, v = split_heads(qkv, heads)
    context = cache.key.shape[2]
    slot = positions[:, None, :, None].expand_as(k)
    cache = LayerCache(cache.key.scatter(2, slot, k), cache.value.scatter(2, slot, v))
    visible = torch.arange(context) <= positions[:, None, :, None]  # [B, 1, S, context]
    return join_heads(attend(q, cache.key, cache.value, visible)), cache


def full_attention(qkv: Tensor, heads: int, kv_layout: str) -> Tensor:
    """Attend from every position to every position: qkv [B, T, 3 * width] -> [B, T, width]."""
    batch, length, packed = qkv.shape
    if kv_layout == "static" and torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            list(torch.split(qkv, packed // 3, dim=-1)),
            attrs={"num_heads": heads},
            dtype=qkv.dtype,
            shape=(batch, length, packed // 3),
            version=1,
        )
    return join_heads(attend(*split_heads(qkv, heads)))


def whole_attention(qkv: Tensor, heads: int, *, causal: bool) -> Tensor:
    """Attend within one whole sequence in torch, without a cache: qkv [B, S, 3 * width] -> [B, S, width]."""
    return join_heads(F.scaled_dot_product_attention(*split_heads(qkv, heads), is_causal=causal))


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None) -> Tensor:
    """Attend from q [B, heads, S, D] to k and v [B, heads, T, D] -> [B, heads, S, D]; the softmax is in fp32.

    Args:
        visible: [B, 1, S, T], true for the keys that a query attends to; None for all.
    """
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float()
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    weights: Tensor = scores.softmax(dim=-1)
    return weights.to(v.dtype) @ v


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """[B, S, 3 * heads * D] -> query, key and value, each [B, heads, S, D]."""
    batch, length, _ = qkv.shape
    q, k, v = qkv.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def join_heads(x: Tensor) -> Tensor:
    """[B, heads, S, D] -> [B, S, heads * D]."""
    return x.transpose(1, 2).flatten(2)
