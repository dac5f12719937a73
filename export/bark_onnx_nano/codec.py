"""Training the codec's decoder as a vocoder: codes in, speech out.

On spectral losses alone, which converge fast, and leave a little buzz that a discriminator would take out. It hears
the true codes, and more often those that the fine model gives for the first two codebooks, since in use it hears these.
For the same reason its own codebooks are trained with it: what a guessed code says is not what a true one says.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_onnx.model.sizes import CodecSize
from bark_onnx_export.modules.codec import CodecModule

from . import corpus, mel
from .codebooks import Codebooks
from .training import Batch, Task

SIZE = CodecSize(codebooks=8, codebook_size=1024, width=mel.BANDS, filters=16, ratios=(5, 8, 4, 2), lstm_layers=1)
FRAMES = 72  # of a training excerpt
ROWS = 16
SKIPPED = 6  # frames at an excerpt's beginning, which lack their past
_GUESSED = 0.75  # of the excerpts have the fine model's codes
# How often an excerpt is of a voice: the codec loses words of the female one, whose harmonics lie as wide as the mel
# bands, and hardly any of the male one.
_OFTEN = {"slt": 2.0, "rms": 1.0}
_RESOLUTIONS = ((2048, 480), (1024, 240), (512, 120), (240, 60))


def decode(decoder: CodecModule, codes: Tensor) -> Tensor:
    """Codes [B, 8, T] -> waveforms [B, 320 T], whole utterances, in bf16."""
    rows = len(codes)
    with torch.autocast("cpu", torch.bfloat16):
        waveforms: Tensor = decoder(codes, torch.ones(rows, dtype=torch.bool), *decoder.new_state(rows))[0]
    return waveforms.float()


class Excerpts:
    """Speech of a corpus in memory, with its true codes and with those that the fine model guesses."""

    def __init__(
        self,
        samples: Sequence[NDArray[np.int16]],
        codes: Sequence[NDArray[np.int64]],
        guesses: Sequence[NDArray[np.int64]],
        voices: Sequence[str],
        seed: int,
    ) -> None:
        long = [n for n, c in enumerate(codes) if c.shape[1] > FRAMES]
        often = np.array([_OFTEN[voices[n]] for n in long])
        self.chances = often / often.sum()
        self.codes = [(torch.from_numpy(codes[n]), torch.from_numpy(guesses[n])) for n in long]
        self.samples = [torch.from_numpy(samples[n][: codes[n].shape[1] * mel.HOP]) for n in long]
        self.seed = seed

    def __call__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, step))
        heard, wanted = [], []
        for index in random.choice(len(self.samples), ROWS, p=self.chances):
            codes = self.codes[index][int(random.random() < _GUESSED)]
            samples = self.samples[index]
            start = int(random.integers(0, codes.shape[1] - FRAMES + 1))
            heard.append(codes[:, start : start + FRAMES])
            wanted.append(samples[start * mel.HOP : (start + FRAMES) * mel.HOP] / 32768.0)
        return {"codes": torch.stack(heard), "samples": torch.stack(wanted)}


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 distances of log magnitudes and of log-mel bands, and spectral convergence, at several resolutions."""
    total = made.new_zeros(())
    for window, hop in _RESOLUTIONS:
        a, b = mel.magnitudes(made, window, hop), mel.magnitudes(wanted, window, hop)
        total = total + (a - b).norm() / b.norm().clamp_min(1e-3)
        total = total + ((a + 1e-4).log() - (b + 1e-4).log()).abs().mean()
        if window >= 512:
            m, n = mel.mel(a, 80 if window > 512 else 40, window), mel.mel(b, 80 if window > 512 else 40, window)
            total = total + 2 * ((m + 1e-4).log() - (n + 1e-4).log()).abs().mean()
    return total / len(_RESOLUTIONS)


def task(excerpts: Excerpts, held_out: Excerpts, codebooks: Codebooks, seed: int) -> Task:
    torch.manual_seed(seed)
    decoder = CodecModule(SIZE)
    decoder.codebooks.data.copy_(codebooks.tables)

    def loss(batch: Batch) -> Tensor:
        made = decode(decoder, batch["codes"])
        return spectral_loss(made[:, SKIPPED * mel.HOP :], batch["samples"][:, SKIPPED * mel.HOP :])

    def validate() -> float:
        """The spectral loss on excerpts that are not trained on."""
        return float(np.mean([float(loss(held_out(step))) for step in range(3)]))

    return Task(decoder, excerpts, loss, validate)


def speech(directory: Path, first: int, last: int) -> list[NDArray[np.int16]]:
    """The samples of shards [first, last)."""
    return [utterance.samples for utterance in corpus.read(directory, first, last)]


def load(path: Path) -> CodecModule:
    decoder = CodecModule(SIZE)
    decoder.load_state_dict(torch.load(path, weights_only=True)["module"])
    return decoder
