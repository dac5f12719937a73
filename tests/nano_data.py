"""Random tokens and codebooks for the tests of the nano recipe."""

import numpy as np
import torch

from bark_onnx_nano.corpus.codebooks import Codebooks
from bark_onnx_nano.corpus.tokens import Tokens
from bark_onnx_nano.units import UNITS, VOCABULARY

V = VOCABULARY


def some_tokens(count: int, seed: int = 0) -> Tokens:
    """Utterances of 1 to 7 s with random units and codes; the voices alternate."""
    random = np.random.default_rng(seed)
    lengths = random.integers(50, 350, count)
    return Tokens(
        [random.integers(0, UNITS, n) + UNITS * (i % 2) for i, n in enumerate(lengths)],
        [random.integers(0, V.codebook_size, (8, V.coarse_length(int(n)) // 2)) for n in lengths],
    )


def some_codebooks() -> Codebooks:
    tables = torch.randn(8, V.codebook_size, 64, generator=torch.Generator().manual_seed(1))
    return Codebooks(torch.zeros(64), 1.0, tables.half().float())
