"""Codes without a learned encoder: residual k-means over log-mel frames, eight codebooks of 1024.

The runtime needs codebooks and a decoder, never an encoder. Trained together from nothing, an encoder learns little in
the hours there are; here the latent space is given, and converges at once.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .units import VOCABULARY

FILE = "codebooks.safetensors"
CODEBOOKS, SIZE = VOCABULARY.fine_codebooks, VOCABULARY.codebook_size
_ROUNDS = 16


@dataclass(frozen=True)
class Codebooks:
    """Frames are centred and scaled to latents; tables [8, 1024, 64] hold what is summed up to a latent."""

    mean: Tensor
    scale: float
    tables: Tensor

    def encode(self, frames: Tensor) -> Tensor:
        """Log-mel frames [T, 64] -> codes [8, T]: each codebook takes what is nearest to the rest."""
        rest = (frames - self.mean) / self.scale
        codes = []
        for table in self.tables:
            nearest = _nearest(rest, table)
            codes.append(nearest)
            rest = rest - table[nearest]
        return torch.stack(codes)

    def features(self, codebook: int, width: int, deviation: float) -> Tensor:
        """[1024, width] for the codes of a codebook: random projections of what they stand for."""
        table = self.tables[codebook]
        made = table @ torch.randn(table.shape[1], width, generator=torch.Generator().manual_seed(width))
        return made * (deviation / made.std())

    def alike(self, codebook: int, count: int) -> Tensor:
        """[1024, count]: the codes nearest to each code of a codebook, without itself."""
        table = self.tables[codebook]
        return torch.cdist(table, table).fill_diagonal_(torch.inf).topk(count, largest=False).indices

    def save(self, path: Path) -> None:
        """Write a safetensors file; the tables in fp16, which holds them exactly."""
        save_file({"mean": self.mean, "scale": torch.tensor(self.scale), "tables": self.tables.half()}, path)

    @classmethod
    def load(cls, path: Path) -> "Codebooks":
        found = load_file(path)
        return cls(found["mean"], float(found["scale"]), found["tables"].float())


def train(frames: Tensor, seed: int) -> Codebooks:
    """Codebooks for frames [N, 64], N well over 1024."""
    generator = torch.Generator().manual_seed(seed)
    mean = frames.mean(0)
    scale = float((frames - mean).std())
    rest = (frames - mean) / scale
    tables = torch.zeros(CODEBOOKS, SIZE, frames.shape[1])
    for n in range(CODEBOOKS):
        tables[n] = _k_means(rest, generator)
        tables[n] = tables[n].half().float()  # what the checkpoint holds
        rest = rest - tables[n][_nearest(rest, tables[n])]
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
    """Index of the nearest row of the table for each point."""
    half = table.square().sum(1) / 2
    return torch.cat([(half - chunk @ table.T).argmin(1) for chunk in torch.split(points, 8192)])
