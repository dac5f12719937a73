"""What a precision costs: a bundle beside a reference bundle, both forced along the tokens of voice presets.

At each position both see the same true tokens before it, and their distributions at temperature 1 are compared; what is
seen is in `excerpts.py`. There is no text with a preset, so the semantic stage's NLL is that of speech of which nothing
is known: its difference says something, its value little.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from tqdm import tqdm

from ..arrays import FloatArray, IntArray
from ..errors import BarkError, BundleError
from ..graphs.device import Device
from ..model.bundle import STAGES, Bundle, CausalPrecision, GraphPrecision
from ..model.voice import VoicePreset
from .compare import CPU, compare_logits, open_network, signal_to_noise, spectral_distances
from .excerpts import Excerpt, excerpts

TOKENS = 256  # semantic tokens, of all voices together: a minute or two for bark-small on two cores
AT_LEAST = ("top_1", "top_5", "snr")  # the limits of the other figures are the most that they may be


def _limits(kl: float, top_1: float, top_5: float) -> dict[str, float]:
    """With the NLL's, which tokens of the reference's own would raise by KL, give or take sqrt(2 KL / n): two of those.

    n is 256, the tokens that are measured by default.
    """
    return {"nll": kl + 2 * math.sqrt(2 * kl / TOKENS), "kl": kl, "top_1": top_1, "top_5": top_5}


# What the precision of a graph may cost, if the caller sets no limits.
# KL: what the two sample differs in at most sqrt(KL / 2) of all tokens (Pinsker): 0.07 %, 2 %, 5 %, 10 %, 20 %. Random
# weights have 0.0000006, 0.0005 and 0.03 in fp16, int8 and int4; nano, a trained model, 0.000003, 0.0012 and 0.046, and
# 0.077 in mixed's steps; larger ones may have outliers, which cost int8 most.
# Top-1 and top-5 are for what is broken: flat distributions, as random weights have them, flip between tokens that are
# as good as equal, which costs nothing (int8 92 % and 100 %, int4 57 % and 89 %).
LIMITS = {
    "fp32": _limits(kl=1e-6, top_1=0.99, top_5=0.999),
    "fp16": _limits(kl=1e-3, top_1=0.95, top_5=0.995),
    "bf16": _limits(kl=5e-3, top_1=0.9, top_5=0.99),
    "int8": _limits(kl=0.02, top_1=0.8, top_5=0.97),
    "int4": _limits(kl=0.08, top_1=0.5, top_5=0.85),
}
LIMITS |= {"w8a16": LIMITS["fp16"], "w4a16": LIMITS["int4"]}
# The codec is fp32 in all of them: the relative error that `compare` allows there is 80 dB.
CODEC_LIMITS = {"snr": 80.0, "lsd": 0.05}
FIGURES = (*LIMITS["fp32"], *CODEC_LIMITS)

HEADER = (
    f"{'stage':10}{'positions':>10}{'NLL reference':>15}{'NLL':>9}{'difference':>12}{'KL':>10}{'top-1':>9}{'top-5':>9}"
    f"{'SNR':>10}{'LSD':>10}"
)

_Outputs: TypeAlias = Iterator[tuple[IntArray, FloatArray, FloatArray]]  # targets; reference's; candidate's
_Measured: TypeAlias = tuple[int, tuple[float, float] | None, dict[str, float]]  # positions, nll, figures


@dataclass(frozen=True)
class StageQuality:
    """What the candidate's precision costs one stage.

    Args:
        positions: tokens predicted by both; for the codec, frames decoded.
        nll: mean negative log-likelihood of the true token under the reference and under the candidate, in nats; None
            for the codec.
        figures: of a transformer, means over positions: `nll`, the candidate's less the reference's; `kl`,
            KL(reference || candidate) in nats; `top_1` and `top_5`, the share of positions where the reference's best
            token is the candidate's best, or among its 5 best. Of the codec: `snr` and `lsd`, in dB.
        limits: of each figure.
    """

    stage: str
    positions: int
    nll: tuple[float, float] | None
    figures: dict[str, float]
    limits: dict[str, float]

    @property
    def over(self) -> list[str]:
        """Each figure that is beyond its limit, and by how much."""
        sign = {name: -1 if name in AT_LEAST else 1 for name in self.figures}
        return [
            f"{name} {value:.3g} (limit {self.limits[name]:.3g})"
            for name, value in self.figures.items()
            if sign[name] * value > sign[name] * self.limits[name]
        ]

    def __str__(self) -> str:
        """A row below HEADER."""
        row, figures = f"{self.stage:10}{self.positions:10}", self.figures
        if self.nll is None:
            row += f"{'':64}{figures['snr']:7.1f} dB{figures['lsd']:7.3f} dB"
        else:
            row += f"{self.nll[0]:15.4f}{self.nll[1]:9.4f}{figures['nll']:+12.5f}{figures['kl']:10.2e}"
            row += f"{100 * figures['top_1']:7.1f} %{100 * figures['top_5']:7.1f} %"
        return row + ("  over the limit" if self.over else "")


def measure(
    reference: Bundle,
    candidate: Bundle,
    voices: Sequence[VoicePreset],
    tokens: int = TOKENS,
    limits: Mapping[str, float] | None = None,
    *,
    device: Device = CPU,
    progress: bool = False,
) -> Iterator[StageQuality]:
    """One stage after the other, so that only two graphs are in memory at a time.

    Args:
        reference, candidate: bundles of the same model (`check_same_model`).
        voices: from `find_voices`; all are used.
        tokens: semantic tokens to predict, shared out among the voices, and coarse codes of the same time.
        limits: by figure, in place of those of the stage's precision.
        device: where both run.
        progress: show a progress bar on standard error where that is a terminal.

    Raises BundleError for logits or samples that are not numbers.
    """
    manifest, share = candidate.manifest, -(-tokens // len(voices))
    for stage in STAGES:
        parts = [excerpt for voice in voices for excerpt in excerpts(stage, voice, share, manifest)]
        shown = tqdm(parts, f"{stage:8}", leave=False, disable=None if progress else True)
        outputs = _outputs(stage, reference, candidate, shown, device)
        positions, nll, figures = _codec_figures(outputs) if stage == "codec" else _token_figures(outputs)
        own = LIMITS[_form(getattr(manifest.precisions, stage))]
        allowed = {**own, **CODEC_LIMITS, **(limits or {})}
        yield StageQuality(stage, positions, nll, figures, {name: allowed[name] for name in figures})


def _form(precision: CausalPrecision | GraphPrecision) -> str:
    """The format of the matrices that decide how good a stage is: most tokens come from decode steps."""
    form = precision.step_weights if isinstance(precision, CausalPrecision) else precision.weights
    return form.partition("-")[0]


def check_same_model(reference: Bundle, candidate: Bundle) -> None:
    """Raise BarkError for bundles of different models."""
    a, b = reference.manifest, candidate.manifest
    if (a.vocabulary, a.sizes) != (b.vocabulary, b.sizes):
        raise BarkError(f"{reference.directory} and {candidate.directory} are bundles of different models")


def _outputs(stage: str, reference: Bundle, candidate: Bundle, parts: Iterable[Excerpt], device: Device) -> _Outputs:
    """Of each excerpt. One network runs it to its end, then the other: their threads would wait for each other."""
    networks = {bundle.directory: open_network(bundle, stage, device) for bundle in (reference, candidate)}
    for excerpt in parts:
        a, b = (excerpt.run(networks[bundle.directory]) for bundle in (reference, candidate))
        for bundle, output in ((reference, a), (candidate, b)):
            if not np.isfinite(output).all():
                raise BundleError(f"{bundle.directory}: {stage}.onnx returns values that are not numbers")
        yield excerpt.targets, a, b


def _token_figures(outputs: _Outputs) -> _Measured:
    rows = np.concatenate([compare_logits(a, b, targets) for targets, a, b in outputs])
    reference, candidate, kl, top_1, top_5 = rows.mean(axis=0).tolist()
    return len(rows), (reference, candidate), {"nll": candidate - reference, "kl": kl, "top_1": top_1, "top_5": top_5}


def _codec_figures(outputs: _Outputs) -> _Measured:
    codes, a, b = zip(*outputs, strict=True)
    lsd = float(np.concatenate([spectral_distances(*pair) for pair in zip(a, b, strict=True)]).mean())
    frames = sum(part.shape[1] for part in codes)
    return frames, None, {"snr": signal_to_noise(np.concatenate(a), np.concatenate(b)), "lsd": lsd}
