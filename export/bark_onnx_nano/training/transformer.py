"""The three transformers for training, with the exporter's blocks. All positions of a sequence are computed at once."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bark_onnx.model.sizes import TransformerSize
from bark_onnx_export.modules.attention import join_heads, split_heads
from bark_onnx_export.modules.block import LAYER_NORM_EPS, Block

from ..units import UNITS, VOCABULARY

_V = VOCABULARY
_COARSE_IDS = max(_V.coarse_semantic_pad, _V.coarse_infer) + 1

# With these widths the int8 bundle is smaller than 16 MB.
SIZES = {
    "semantic": TransformerSize(
        5, 4, 224, _V.text_window + _V.max_semantic_tokens, _V.semantic_infer + 1, _V.text_offset
    ),
    "coarse": TransformerSize(
        4, 4, 192, _V.coarse_semantic_window + 1 + _V.max_coarse_history + 60, _COARSE_IDS, _COARSE_IDS
    ),
    "fine": TransformerSize(3, 4, 64, _V.fine_window, _V.codebook_size + 32, _V.codebook_size + 32),
}


class Transformer(nn.Module):
    """The common part of the causal and the fine model: position embeddings, blocks and the last LayerNorm."""

    def __init__(self, size: TransformerSize, *, norm_bias: bool, causal: bool) -> None:
        super().__init__()
        self.size, self.causal = size, causal
        self.position_embedding = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size.width, bias=False, norm_bias=norm_bias) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=LAYER_NORM_EPS, bias=norm_bias)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        for block in cast(list[Block], self.blocks):
            for name, weight in block.named_parameters():
                if weight.ndim == 2:
                    residual = "out" in name or "down" in name
                    nn.init.normal_(weight, std=(weight.shape[1] * (2 * size.layers if residual else 1)) ** -0.5)

    def hidden(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Summed embeddings [B, S, D] -> hidden states [B, S, D] after the last LayerNorm.

        Args:
            bias: [S], added to the attention scores of each key.
        """
        mask = None
        if bias is not None:
            mask = torch.full((len(bias), len(bias)), float("-inf")).triu(1) + bias
        causal = self.causal and mask is None
        for block in cast(list[Block], self.blocks):
            q, k, v = split_heads(block.qkv(x), self.size.heads)
            if mask is not None:
                mask = mask.to(q.dtype)
            x = block.finish(x, join_heads(F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)))
        normed: Tensor = self.norm(x)
        return normed


class Causal(Transformer):
    """The semantic or the coarse model."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__(size, norm_bias=False, causal=True)
        self.token_embedding = nn.Embedding(size.input_vocabulary, size.width)
        self.head = nn.Linear(size.width, size.output_vocabulary, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(
        self, ids: Tensor, positions: Tensor, history: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """ids [B, S] at positions [S] -> hidden states [B, S, D].

        Args:
            history: ids [B, H]; their embeddings are added to those of the first H positions.
            bias: [S], added to the attention scores of each key.
        """
        x = self.token_embedding(ids)
        if history is not None:
            x = x + F.pad(self.token_embedding(history), (0, 0, 0, ids.shape[1] - history.shape[1]))
        return self.hidden(x + self.position_embedding(positions), bias)


class Fine(Transformer):
    """The fine model. Its `token_embeddings` are also its heads."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__(size, norm_bias=True, causal=False)
        table = torch.randn(_V.fine_codebooks, size.input_vocabulary, size.width) * 0.1
        self.token_embeddings = nn.Parameter(table)

    def forward(self, codes: Tensor, codebook: int) -> Tensor:
        """codes [B, T, codebooks] -> logits [B, T, codebook_size] of one codebook."""
        x = self.position_embedding.weight[: codes.shape[1]]
        for index in range(codebook + 1):
            x = x + F.embedding(codes[..., index], self.token_embeddings[index])
        return F.linear(self.hidden(x), self.token_embeddings[codebook, : _V.codebook_size])


def build(stage: str) -> Causal | Fine:
    """Return the untrained model of a stage."""
    return Fine(SIZES[stage]) if stage == "fine" else Causal(SIZES[stage])


def make_voices_similar(table: Tensor) -> None:
    """Initialise the embeddings of the second voice's units close to those of the same units of the first voice."""
    first, second = table[:UNITS], table[UNITS : 2 * UNITS]
    second.copy_(first + 0.4 * second)


def checkpoint_tensors(module: Causal | Fine) -> dict[str, Tensor]:
    """Return the tensors by the exporter's names, with one `token_embeddings.{i}` and `heads.{i}` per codebook."""
    state = dict(module.state_dict())
    if isinstance(module, Fine):
        table = state.pop("token_embeddings")
        state |= {f"token_embeddings.{i}.weight": rows.clone() for i, rows in enumerate(table)}
        state |= {f"heads.{i}.weight": rows.clone() for i, rows in enumerate(table[1:])}
    return state
