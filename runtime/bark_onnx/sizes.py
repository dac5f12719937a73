"""The sizes of Bark's networks, as a checkpoint has them and a bundle's manifest carries them."""

import math
from dataclasses import dataclass

from .vocabulary import Vocabulary


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


def misfits(stage: str, size: TransformerSize | CodecSize, vocabulary: Vocabulary) -> list[str]:
    """Where a network's sizes do not do for the ids, windows and frames of a token space."""
    space = vocabulary
    if isinstance(size, CodecSize):
        exact = {
            "codebooks": (size.codebooks, space.fine_codebooks),
            "codes in a codebook": (size.codebook_size, space.codebook_size),
            "samples in a frame": (math.prod(size.ratios), space.frame_samples),
        }
        return [f"{has} {what} instead of {needed}" for what, (has, needed) in exact.items() if has != needed]
    needs = {
        "semantic": {
            "input_vocabulary": max(space.text_pad, space.semantic_infer) + 1,
            "output_vocabulary": space.semantic_pad + 1,
            "context": space.text_window + space.max_semantic_tokens,  # the infer token, but not the last one sampled
        },
        "coarse": {
            "input_vocabulary": max(space.coarse_semantic_pad, space.coarse_infer) + 1,
            "output_vocabulary": space.semantic_size + space.coarse_choices,
            "context": space.coarse_semantic_window + 1 + space.max_coarse_history,
        },
        "fine": {"input_vocabulary": space.codebook_size + 1, "context": space.fine_window},
    }
    return [
        f"{name} is {getattr(size, name)} where {least} is needed"
        for name, least in needs[stage].items()
        if getattr(size, name) < least
    ]
