"""What a precision costs: the outputs of a bundle against those of a reference bundle, on the tokens of voice presets.

At each position both get the same true tokens before it (`excerpts.py` says which), and their distributions at
temperature 1 are compared. A preset has no text, so the semantic stage predicts speech without knowing the text. The
difference of the two bundles' NLLs is meaningful there; their values are not.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from tqdm import tqdm

from ..arrays import FloatArray, IntArray
from ..errors import BarkError, BundleError
from ..graphs.decoder import Decoder
from ..graphs.device import Device
from ..graphs.networks import Networks
from ..model.bundle import Bundle
from ..model.manifest import STAGES, CausalPrecision, GraphPrecision, Manifest, graph_file
from ..model.voice import VoicePreset
from .compare import CPU, compare_logits, signal_to_noise, spectral_distances
from .excerpts import Excerpt, StepByStep, excerpts

TOKENS = 256  # semantic tokens of all voices together; takes a minute or two for bark-small on two cores
AT_LEAST = ("top_1", "top_5", "snr")  # figures whose limit is the smallest allowed value, not the largest


def _limits(kl: float, top_1: float, top_5: float) -> dict[str, float]:
    """The limits of all figures; the NLL's follows from the KL's.

    On tokens that the reference has sampled, the NLL rises by the KL, with a standard deviation of sqrt(2 KL / n) for n
    tokens. The limit allows two standard deviations at n = TOKENS.
    """
    return {"nll": kl + 2 * math.sqrt(2 * kl / TOKENS), "kl": kl, "top_1": top_1, "top_5": top_5}


# The limits of each precision, if the caller sets none.
# KL: the tokens that two models sample differ in at most a share sqrt(KL / 2) (Pinsker): 0.07 %, 2 %, 5 %, 10 %, 20 %.
# Measured KL in fp16, int8 and int4 on nano, a trained model: 0.000006, 0.007 and 0.05, and 0.04 in mixed.
# Top-1 and top-5 find graphs that are broken. Flat distributions, such as those of random weights, flip between tokens
# of nearly equal probability, which costs nothing (int8 92 % and 100 %, int4 57 % and 89 %).
LIMITS = {
    "fp32": _limits(kl=1e-8, top_1=0.99, top_5=0.999),
    "fp16": _limits(kl=1e-3, top_1=0.95, top_5=0.995),
    "bf16": _limits(kl=5e-3, top_1=0.9, top_5=0.99),
    "int8": _limits(kl=0.02, top_1=0.8, top_5=0.97),
    "int4": _limits(kl=0.08, top_1=0.5, top_5=0.85),
}
LIMITS |= {"w8a16": LIMITS["bf16"], "w4a16": LIMITS["int4"]}
# The codec is always fp32. 80 dB is a relative error of 1e-4.
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
        positions: the number of tokens that both predicted; for the codec, of frames decoded.
        nll: mean negative log-likelihood of the true token under the reference and under the candidate, in nats; None
            for the codec.
        figures: for a transformer, means over positions: `nll`, the candidate's minus the reference's; `kl`,
            KL(reference || candidate) in nats; `top_1` and `top_5`, the share of positions where the reference's best
            token is the candidate's best, or among its 5 best. For the codec: `snr` and `lsd`, in dB.
        limits: the limit of each figure.
    """

    stage: str
    positions: int
    nll: tuple[float, float] | None
    figures: dict[str, float]
    limits: dict[str, float]

    @property
    def over(self) -> list[str]:
        """Each figure that is beyond its limit, with its value and the limit."""
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


@dataclass(frozen=True)
class Source:
    """The networks of one model.

    Args:
        name: its name in errors.
        load: returns the network of a stage: a CausalPredictor, FinePredictor or WaveformDecoder.
    """

    name: str
    load: Callable[[str], Any]

    @classmethod
    def of(cls, bundle: Bundle, device: Device = CPU) -> "Source":
        """The networks of a bundle."""

        def load(stage: str) -> Any:
            network = Networks(bundle, device).network(stage)
            return StepByStep(network) if isinstance(network, Decoder) else network

        return cls(str(bundle.directory), load)


def measure(
    reference: Source,
    candidate: Source,
    manifest: Manifest,
    voices: Sequence[VoicePreset],
    tokens: int = TOKENS,
    limits: Mapping[str, float] | None = None,
    *,
    progress: bool = False,
) -> Iterator[StageQuality]:
    """Measure one stage after another, so that only two networks are in memory at a time.

    Args:
        reference, candidate: networks of the same model.
        manifest: the candidate's.
        voices: from `find_voices`; all are used.
        tokens: the number of semantic tokens to predict for all voices together, and of coarse codes for the same time.
        limits: limits by figure, which replace those of the stage's precision.
        progress: show a progress bar on standard error where that is a terminal.

    Raises BundleError for logits or samples that are not numbers.
    """
    share = -(-tokens // len(voices))
    for stage in STAGES:
        parts = [excerpt for voice in voices for excerpt in excerpts(stage, voice, share, manifest)]
        shown = tqdm(parts, f"{stage:8}", leave=False, disable=None if progress else True)
        outputs = _outputs(stage, reference, candidate, shown)
        positions, nll, figures = _codec_figures(outputs) if stage == "codec" else _token_figures(outputs)
        own = LIMITS[_form(getattr(manifest.precisions, stage))]
        allowed = {**own, **CODEC_LIMITS, **(limits or {})}
        yield StageQuality(stage, positions, nll, figures, {name: allowed[name] for name in figures})


def _form(precision: CausalPrecision | GraphPrecision) -> str:
    """The format of the matrices that decide a stage's quality; most tokens come from decode steps."""
    form = precision.step_weights if isinstance(precision, CausalPrecision) else precision.weights
    return form.partition("-")[0]


def check_same_model(reference: Bundle, candidate: Bundle) -> None:
    """Raise BarkError if the bundles are of different models."""
    a, b = reference.manifest, candidate.manifest
    if (a.vocabulary, a.sizes) != (b.vocabulary, b.sizes):
        raise BarkError(f"{reference.directory} and {candidate.directory} are bundles of different models")


def _outputs(stage: str, reference: Source, candidate: Source, parts: Iterable[Excerpt]) -> _Outputs:
    """The outputs for each excerpt. One network runs the whole excerpt, then the other, since their threads compete."""
    networks = [(source, source.load(stage)) for source in (reference, candidate)]
    for excerpt in parts:
        a, b = (excerpt.run(network) for _, network in networks)
        for (source, _), output in zip(networks, (a, b), strict=True):
            if not np.isfinite(output).all():
                raise BundleError(f"{source.name}: {graph_file(stage)} returns values that are not numbers")
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
