"""The codebooks: residual k-means over log-mel frames, eight codebooks of 1024 codes, without a learned encoder.

The runtime needs codebooks and a decoder, but no encoder. An encoder trained together with the decoder from random
weights learns little in the available hours. Here the latent space is fixed, so the decoder converges from the start.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..units import VOCABULARY

FILE = "codebooks.safetensors"
CODEBOOKS, SIZE = VOCABULARY.fine_codebooks, VOCABULARY.codebook_size
_ROUNDS = 16


@dataclass(frozen=True)
class Codebooks:
    """Codebooks for log-mel frames.

    Args:
        mean: [64]; a frame minus `mean`, divided by `scale`, is a latent.
        tables: [8, 1024, 64]; a latent is the sum of one row of each table.
    """

    mean: Tensor
    scale: float
    tables: Tensor

    def encode(self, frames: Tensor) -> Tensor:
        """Log-mel frames [T, 64] -> codes [8, T]. Each codebook's code is the row nearest to the remaining residual."""
        residual = (frames - self.mean) / self.scale
        codes = []
        for table in self.tables:
            nearest = _nearest(residual, table)
            codes.append(nearest)
            residual = residual - table[nearest]
        return torch.stack(codes)

    def features(self, codebook: int, width: int, deviation: float) -> Tensor:
        """Return a vector per code of a codebook [1024, width]: a random projection of the code's row.

        They initialise embeddings, so that codes that sound alike begin with similar vectors.

        Args:
            deviation: the standard deviation of the vectors' entries.
        """
        table = self.tables[codebook]
        projected = table @ torch.randn(table.shape[1], width, generator=torch.Generator().manual_seed(width))
        return projected * (deviation / projected.std())

    def neighbours(self, codebook: int, count: int) -> Tensor:
        """Return the `count` nearest other codes of each code of a codebook [1024, count]."""
        table = self.tables[codebook]
        return torch.cdist(table, table).fill_diagonal_(torch.inf).topk(count, largest=False).indices

    def save(self, path: Path) -> None:
        """Write a safetensors file, with the tables in fp16, which represents them exactly."""
        save_file({"mean": self.mean, "scale": torch.tensor(self.scale), "tables": self.tables.half()}, path)

    @classmethod
    def load(cls, path: Path) -> "Codebooks":
        found = load_file(path)
        return cls(found["mean"], float(found["scale"]), found["tables"].float())


def train(frames: Tensor, seed: int) -> Codebooks:
    """Train codebooks on frames [N, 64], with N much larger than 1024."""
    generator = torch.Generator().manual_seed(seed)
    mean = frames.mean(0)
    scale = float((frames - mean).std())
    residual = (frames - mean) / scale
    tables = torch.zeros(CODEBOOKS, SIZE, frames.shape[1])
    for n in range(CODEBOOKS):
        tables[n] = _k_means(residual, generator)
        tables[n] = tables[n].half().float()  # as the checkpoint stores it
        residual = residual - tables[n][_nearest(residual, tables[n])]
    return Codebooks(mean, scale, tables)


def _k_means(points: Tensor, generator: torch.Generator) -> Tensor:
    table = points[torch.randperm(len(points), generator=generator)[:SIZE]].clone()
    for _ in range(_ROUNDS):
        nearest = _nearest(points, table)
        counts = torch.bincount(nearest, minlength=SIZE)
        sums = torch.zeros_like(table).index_add_(0, nearest, points)
        table = sums / counts.clamp_min(1)[:, None]
        empty = counts == 0
        if empty.any():
            table[empty] = points[torch.randint(len(points), (int(empty.sum()),), generator=generator)]
    return table


def _nearest(points: Tensor, table: Tensor) -> Tensor:
    """Return the index of the nearest row of the table for each point."""
    half = table.square().sum(1) / 2
    return torch.cat([(half - chunk @ table.T).argmin(1) for chunk in torch.split(points, 8192)])
