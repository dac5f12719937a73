"""The fine model for export: logits of one codebook, for all positions of a window at once."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bark_onnx.model.sizes import TransformerSize

from .attention import full_attention
from .block import LAYER_NORM_EPS, Block


class FineModule(nn.Module):
    """Computes logits of one codebook at every position from the codes of a window.

    For codebook i, the embeddings of codebooks 0 to i are summed; i itself is included. Heads are tied to embeddings:
    one table [codebooks, vocabulary, width] holds both.

    Args:
        size: the checkpoint's sizes.
        codebooks: the number of codebooks.
        codebook_size: ids [0, codebook_size) can be sampled; the padding id above them cannot.
        bias: whether the linear layers have biases (the LayerNorms always do).
        kv_layout: `static` or `portable`: the form of attention that is exported.
    """

    def __init__(
        self, size: TransformerSize, codebooks: int, codebook_size: int, *, bias: bool, kv_layout: str
    ) -> None:
        super().__init__()
        self.heads, self.kv_layout = size.heads, kv_layout
        self.codebook_size = codebook_size
        self.token_embeddings = nn.Parameter(torch.empty(codebooks, size.input_vocabulary, size.width))
        self.position_embedding = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size.width, bias=bias, norm_bias=True) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=LAYER_NORM_EPS)

    @classmethod
    def from_tensors(
        cls, size: TransformerSize, tensors: dict[str, Tensor], codebook_size: int, kv_layout: str
    ) -> "FineModule":
        """Return a module that uses a checkpoint's tensors without copying them."""
        with torch.device("meta"):
            bias = "blocks.0.attention.qkv.bias" in tensors
            module = cls(size, len(tensors["token_embeddings"]), codebook_size, bias=bias, kv_layout=kv_layout)
        module.load_state_dict(tensors, assign=True)
        return module.eval().requires_grad_(False)

    def forward(self, codes: Tensor, codebook: Tensor) -> Tensor:
        """codes [B, T, codebooks] int64, codebook [] int64 -> logits [B, T, codebook_size] float32."""
        x = self.embed(codes, codebook)
        for block in cast(list[Block], self.blocks):
            x = block.finish(x, full_attention(block.qkv(x), self.heads, self.kv_layout))
        return self.logits(x, codebook).float()

    def embed(self, codes: Tensor, codebook: Tensor) -> Tensor:
        """codes [B, T, codebooks], codebook [] -> the input [B, T, D] of the first block."""
        codebooks, vocabulary, width = self.token_embeddings.shape
        table = self.token_embeddings.view(codebooks * vocabulary, width)
        dtype = self.norm.weight.dtype  # embeddings may be stored in 16 bits
        x = self.position_embedding.weight[: codes.shape[1]].to(dtype)
        for index in range(codebooks):
            embedded = F.embedding(codes[:, :, index] + index * vocabulary, table).to(dtype)
            x = x + embedded * (index <= codebook).to(dtype)
        return x

    def logits(self, x: Tensor, codebook: Tensor) -> Tensor:
        """The output of the last block [B, T, D], codebook [] -> logits [B, T, codebook_size]."""
        head = self.token_embeddings.index_select(0, codebook.view(1))[0, : self.codebook_size]
        return self.norm(x) @ head.T.to(self.norm.weight.dtype)  # type: ignore[no-any-return]
