"""The sizes of Bark's networks, as a checkpoint has them and a bundle's manifest carries them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerSize:
    """One GPT-style transformer. Published: small 12 layers, 12 heads, width 768; large 24, 16, 1024."""

    layers: int
    heads: int
    width: int
    context: int
    input_vocabulary: int
    output_vocabulary: int

    @property
    def head_size(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True)
class CodecSize:
    """EnCodec's quantizer and SEANet decoder. The defaults are the published 24 kHz model's."""

    codebooks: int = 8
    codebook_size: int = 1024
    width: int = 128
    filters: int = 32
    ratios: tuple[int, ...] = (8, 5, 4, 2)
    residual_layers: int = 1
    kernel: int = 7
    last_kernel: int = 7
    residual_kernel: int = 3
    dilation_growth: int = 2
    compress: int = 2
    lstm_layers: int = 2
    shortcut: bool = True
