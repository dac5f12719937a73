"""The transformer block of Bark's three models, without the attention itself, in which they differ."""

from torch import Tensor, nn
from torch.nn import functional as F

LAYER_NORM_EPS = 1e-5


class Block(nn.Module):
    """Pre-norm block: `x + out(attention(qkv))`, then `x + mlp`. The GELU is the exact (erf) one.

    Args:
        width: model width D; the MLP is four times as wide.
        bias: whether the linear layers have biases.
        norm_bias: whether the LayerNorms have biases.
    """

    def __init__(self, width: int, *, bias: bool, norm_bias: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS, bias=norm_bias)
        self.attention = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width, bias=bias), "out": nn.Linear(width, width, bias=bias)}
        )
        self.norm_2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS, bias=norm_bias)
        self.mlp = nn.ModuleDict(
            {"up": nn.Linear(width, 4 * width, bias=bias), "down": nn.Linear(4 * width, width, bias=bias)}
        )

    def qkv(self, x: Tensor) -> Tensor:
        """[B, S, D] -> packed query, key and value [B, S, 3 * D]."""
        return self.attention["qkv"](self.norm_1(x))  # type: ignore[no-any-return]

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The block's input and the attention's output, both [B, S, D] -> the block's output [B, S, D]."""
        x = x + self.attention["out"](attended)
        return x + self.mlp["down"](F.gelu(self.mlp["up"](self.norm_2(x))))  # type: ignore[no-any-return]
