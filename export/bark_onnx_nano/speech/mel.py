"""Log-mel frames, the codec's latent space: 64 bands up to 8 kHz, 75 frames per second."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

SAMPLE_RATE = 24_000
HOP = 320
BANDS = 64
_WINDOW = 1024
_TOP = 8_000.0
_FLOOR = 1e-4


def frames(samples: Tensor) -> Tensor:
    """Samples [..., n] of full scale 1 -> log-mel frames [..., n // 320, 64].

    Frame t is centred at the last of the samples that the decoder computes from it, so that a causal decoder gets some
    information about the samples that follow.
    """
    count = samples.shape[-1] // HOP
    left = _WINDOW // 2 - HOP
    padded = F.pad(samples, (left, _WINDOW))
    spectrum = magnitudes(padded, _WINDOW, HOP, centred=False)[..., :count]
    return (_filters(BANDS, _WINDOW, _TOP) @ spectrum).clamp_min(_FLOOR).log().transpose(-1, -2)


def magnitudes(samples: Tensor, window: int, hop: int, *, centred: bool = True) -> Tensor:
    """Return STFT magnitudes [..., bins, frames]; a sine of full scale has a magnitude of about 1."""
    hann = torch.hann_window(window)
    stft = torch.stft(samples, window, hop, window=hann, center=centred, return_complex=True)
    return torch.view_as_real(stft).square().sum(-1).add(1e-12).sqrt() / (window / 4)


def mel(spectrum: Tensor, bands: int, window: int) -> Tensor:
    """Magnitudes [..., bins, frames] -> [..., bands, frames], up to half the sample rate."""
    return _filters(bands, window, SAMPLE_RATE / 2) @ spectrum


@cache
def _filters(bands: int, window: int, top: float) -> Tensor:
    """Return triangular filters [bands, bins] on the mel scale, each with weights that sum to 1."""
    highest = 2595 * math.log10(1 + top / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest, bands + 2) / 2595) - 1)
    bins = torch.linspace(0, SAMPLE_RATE / 2, window // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp_min(0)
    return triangles / triangles.sum(1, keepdim=True).clamp_min(1e-3)
