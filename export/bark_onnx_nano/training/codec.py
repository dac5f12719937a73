"""Train the codec's decoder as a vocoder: codes to speech.

Only spectral losses are used. They converge fast and leave a little buzz, which a discriminator would remove. Most
training excerpts have the codes that the fine model predicts instead of the true ones, because these are the decoder's
input in use. For the same reason the decoder's codebooks are trained too: a predicted code stands for other sounds than
the same code among the true ones.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_onnx.model.sizes import CodecSize
from bark_onnx_export.modules.codec import CodecModule

from ..corpus.codebooks import Codebooks
from ..speech import mel
from .loop import Batch, Task

SIZE = CodecSize(codebooks=8, codebook_size=1024, width=mel.BANDS, filters=16, ratios=(5, 8, 4, 2), lstm_layers=1)
FRAMES = 72  # in a training excerpt
ROWS = 16
SKIPPED = 6  # frames at the start of an excerpt that have no loss, because the decoder does not know what came before
_PREDICTED = 0.75  # share of the excerpts with the fine model's codes
# How often each voice is chosen. The codec makes more words of the female voice unintelligible, whose harmonics are as
# far apart as the mel bands.
_FREQUENCY = {"slt": 2.0, "rms": 1.0}
_RESOLUTIONS = ((2048, 480), (1024, 240), (512, 120), (240, 60))  # window and hop


def decode(decoder: CodecModule, codes: Tensor) -> Tensor:
    """Codes [B, 8, T] of whole utterances -> waveforms [B, 320 T], computed in bf16."""
    rows = len(codes)
    with torch.autocast("cpu", torch.bfloat16):
        waveforms: Tensor = decoder(codes, torch.ones(rows, dtype=torch.bool), *decoder.new_state(rows))[0]
    return waveforms.float()


class Excerpts:
    """Batches of excerpts of speech in memory, with true or predicted codes."""

    def __init__(
        self,
        samples: Sequence[NDArray[np.int16]],
        codes: Sequence[NDArray[np.int64]],
        predicted: Sequence[NDArray[np.int64]],
        voices: Sequence[str],
        seed: int,
    ) -> None:
        long = [n for n, c in enumerate(codes) if c.shape[1] > FRAMES]
        frequencies = np.array([_FREQUENCY[voices[n]] for n in long])
        self.probabilities = frequencies / frequencies.sum()
        self.codes = [(torch.from_numpy(codes[n]), torch.from_numpy(predicted[n])) for n in long]
        self.samples = [torch.from_numpy(samples[n][: codes[n].shape[1] * mel.HOP]) for n in long]
        self.seed = seed

    def __call__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, step))
        inputs, targets = [], []
        for index in random.choice(len(self.samples), ROWS, p=self.probabilities):
            codes = self.codes[index][int(random.random() < _PREDICTED)]
            samples = self.samples[index]
            start = int(random.integers(0, codes.shape[1] - FRAMES + 1))
            inputs.append(codes[:, start : start + FRAMES])
            targets.append(samples[start * mel.HOP : (start + FRAMES) * mel.HOP] / 32768.0)
        return {"codes": torch.stack(inputs), "samples": torch.stack(targets)}


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Compare waveforms [B, n] at several resolutions.

    The loss is the mean over resolutions of the spectral convergence, the L1 distance of log magnitudes, and the L1
    distance of log-mel bands.
    """
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
    """Return the task of the codec's decoder.

    Args:
        held_out: excerpts for the validation.
        codebooks: the decoder's codebooks are initialised with them.
    """
    torch.manual_seed(seed)
    decoder = CodecModule(SIZE)
    decoder.codebooks.data.copy_(codebooks.tables)

    def loss(batch: Batch) -> Tensor:
        made = decode(decoder, batch["codes"])
        return spectral_loss(made[:, SKIPPED * mel.HOP :], batch["samples"][:, SKIPPED * mel.HOP :])

    def validate() -> float:
        """Return the spectral loss on held-out excerpts."""
        return float(np.mean([float(loss(held_out(step))) for step in range(3)]))

    return Task(decoder, excerpts, loss, validate)
