"""Training the codec's decoder as a vocoder: codes in, speech out.

First on spectral losses alone, which converge fast and buzz; then against a discriminator on complex spectra, which
takes the buzz out (EnCodec's, small). The later codebooks are left out now and then, or replaced by random codes: the
fine model's codes are guesses too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bark_onnx.sizes import CodecSize
from bark_onnx_export.codec import CodecDecoder, State

from . import corpus, mel
from .codebooks import Codebooks
from .training import Batch, Task

SIZE = CodecSize(codebooks=8, codebook_size=1024, width=mel.BANDS, filters=16, ratios=(5, 8, 4, 2), lstm_layers=1)
FRAMES = 72  # of a training excerpt
ROWS = 16
SKIPPED = 6  # frames at an excerpt's beginning, which lack their past
_RESOLUTIONS = ((2048, 480), (1024, 240), (512, 120), (240, 60))
_FEATURES = 2.0  # weights of the adversarial losses, against 1 for each spectral loss
_ADVERSARIAL = 0.3


def decode(decoder: CodecDecoder, latents: Tensor) -> Tensor:
    """Latents [B, T, 64] -> waveforms [B, 320 T], whole utterances, in bf16."""
    rows = len(latents)
    state = State(torch.ones(rows, dtype=torch.bool), decoder.new_state(rows))
    with torch.autocast("cpu", torch.bfloat16):
        return decoder.synthesise(latents.transpose(1, 2), state).float()


class Excerpts:
    """Speech of a corpus in memory, with its codes."""

    def __init__(
        self,
        samples: Sequence[NDArray[np.int16]],
        codes: Sequence[NDArray[np.int64]],
        codebooks: Codebooks,
        seed: int,
    ) -> None:
        long = [n for n, c in enumerate(codes) if c.shape[1] > FRAMES]
        self.codes = [torch.from_numpy(codes[n]) for n in long]
        self.samples = [torch.from_numpy(samples[n][: codes[n].shape[1] * mel.HOP]) for n in long]
        self.codebooks, self.seed = codebooks, seed

    def __call__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, step))
        latents, wanted = [], []
        for index in random.integers(0, len(self.samples), ROWS):
            codes, samples = self.codes[index], self.samples[index]
            start = int(random.integers(0, codes.shape[1] - FRAMES + 1))
            part = self.spoil(codes[:, start : start + FRAMES], random)
            latents.append(self.codebooks.latents(part))
            wanted.append(samples[start * mel.HOP : (start + FRAMES) * mel.HOP] / 32768.0)
        return {"latents": torch.stack(latents), "samples": torch.stack(wanted)}

    def spoil(self, codes: Tensor, random: np.random.Generator) -> Tensor:
        """Half of the time, codebooks from some place on are missing; or a few of their codes are wrong."""
        kind, first = random.random(), int(random.integers(2, 8))
        if kind < 0.3:
            return codes[:first]
        if kind < 0.6:
            wrong = torch.from_numpy(random.random((8 - first, codes.shape[1])) < 0.3)
            other = torch.from_numpy(random.integers(0, SIZE.codebook_size, wrong.shape))
            return torch.cat([codes[:first], torch.where(wrong, other, codes[first:])])
        return codes


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


class Discriminator(nn.Module):
    """A few 2-D convolutions over the complex spectrum at each of three resolutions."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.networks = nn.ModuleList(nn.ModuleList(self._layers(width)) for _ in range(3))

    @staticmethod
    def _layers(width: int) -> list[nn.Module]:
        inner = [nn.Conv2d(width, width, (5, 3), stride=(2, 1), padding=(2, d), dilation=(1, d)) for d in (1, 2)]
        layers = [nn.Conv2d(2, width, (7, 3), stride=(2, 1), padding=(3, 1)), *inner, nn.Conv2d(width, 1, 3, padding=1)]
        return [nn.utils.parametrizations.weight_norm(layer) for layer in layers]

    def forward(self, samples: Tensor) -> list[list[Tensor]]:
        """[B, n] -> of each resolution, the features of each layer; the last ones are the verdicts."""
        found = []
        for network, window in zip(cast(list[nn.ModuleList], self.networks), (1024, 512, 256), strict=True):
            hann = torch.hann_window(window)
            stft = torch.stft(samples, window, window // 4, window=hann, return_complex=True)
            x = torch.view_as_real(stft).permute(0, 3, 1, 2) / (window / 4) ** 0.5
            features = []
            for layer in network:
                x = layer(x)
                features.append(x)
                x = F.leaky_relu(x, 0.2)
            found.append(features)
        return found


class Game(nn.Module):
    """Decoder and discriminator, trained in one step: the gradients of each loss reach its own network only."""

    def __init__(self, decoder: CodecDecoder) -> None:
        super().__init__()
        self.decoder, self.discriminator = decoder, Discriminator()

    def loss(self, batch: Batch) -> Tensor:
        made = decode(self.decoder, batch["latents"])[:, SKIPPED * mel.HOP :]
        wanted = batch["samples"][:, SKIPPED * mel.HOP :]
        judged, real = self.discriminator(made.detach()), self.discriminator(wanted)
        verdicts = [(1 - r[-1]).square().mean() + j[-1].square().mean() for r, j in zip(real, judged, strict=True)]
        own = torch.stack(verdicts).mean()
        self.discriminator.requires_grad_(False)
        tried = self.discriminator(made)
        self.discriminator.requires_grad_(True)
        fooled = torch.stack([(1 - t[-1]).square().mean() for t in tried]).mean()
        pairs = [(t, r.detach()) for a, b in zip(tried, real, strict=True) for t, r in zip(a[:-1], b[:-1], strict=True)]
        alike = torch.stack([(t - r).abs().mean() / r.abs().mean() for t, r in pairs]).mean()
        return spectral_loss(made, wanted) + _ADVERSARIAL * fooled + _FEATURES * alike + own


def task(excerpts: Excerpts, held_out: Excerpts, seed: int, decoder: CodecDecoder | None = None) -> Task:
    """Spectral training from nothing or, of a decoder that is given, the adversarial finish."""
    torch.manual_seed(seed)
    adversarial = decoder is not None
    decoder = decoder or CodecDecoder(SIZE)
    decoder.codebooks.data.copy_(excerpts.codebooks.tables)
    decoder.codebooks.requires_grad_(False)
    module: nn.Module = Game(decoder) if adversarial else decoder

    def spectral(batch: Batch) -> Tensor:
        made = decode(decoder, batch["latents"])
        return spectral_loss(made[:, SKIPPED * mel.HOP :], batch["samples"][:, SKIPPED * mel.HOP :])

    def validate() -> float:
        """The spectral loss on excerpts that are not trained on."""
        return float(np.mean([float(spectral(held_out(step))) for step in range(3)]))

    return Task(module, excerpts, module.loss if isinstance(module, Game) else spectral, validate)


def speech(directory: Path, first: int, last: int) -> list[NDArray[np.int16]]:
    """The samples of shards [first, last)."""
    return [utterance.samples for utterance in corpus.read(directory, first, last)]


def load(path: Path) -> CodecDecoder:
    """The decoder of either training."""
    state = torch.load(path, weights_only=True)["module"]
    own = {name.removeprefix("decoder."): tensor for name, tensor in state.items() if "discriminator" not in name}
    decoder = CodecDecoder(SIZE)
    decoder.load_state_dict(own)
    return decoder
