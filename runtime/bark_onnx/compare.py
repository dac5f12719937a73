"""How far two implementations of the same networks are apart, on inputs made from a fixed seed.

Each network is anything with the methods of its class in `models.py`: a bundle's graphs, or torch modules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray, IntArray
from .bundle import STAGES, Bundle
from .errors import BarkError, BundleError
from .models import CausalDecoder, CodecDecoder, FineModel, open_causal, open_codec, open_fine
from .session import Device
from .vocabulary import Vocabulary

# Relative error (rms of the difference over rms of the reference) that a precision may have on any graph.
LIMITS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.2, "int4": 0.4}
PROMPT = 160  # more than one prefill run of the runtime
STEPS = 8


class CausalNetwork(Protocol):
    nothing: int

    def new_cache(self) -> Any: ...
    def prefill(self, cache: Any, input_ids: IntArray, history_ids: IntArray | None = None) -> FloatArray: ...
    def decode_step(self, cache: Any, tokens: Sequence[int]) -> FloatArray: ...


class FineNetwork(Protocol):
    def logits(self, codes: IntArray, codebook: int) -> FloatArray: ...


class CodecNetwork(Protocol):
    def new_state(self, rows: int) -> Any: ...
    def decode_chunk(self, state: Any, codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class GraphError:
    """The distance of one graph from its reference.

    Args:
        relative: rms of the difference over rms of the reference.
        largest: largest absolute difference.
        top_1: share of positions with the same most probable token; None for the codec.
        limit: what `relative` may be.
    """

    stage: str
    relative: float
    largest: float
    top_1: float | None
    limit: float

    @property
    def within_limit(self) -> bool:
        return self.relative <= self.limit  # a NaN is not

    def __str__(self) -> str:
        return f"{self.stage}: relative error {self.relative:.1e}, limit {self.limit:.0e}"


def compare(stage: str, reference: Any, candidate: Any, vocabulary: Vocabulary, precision: str) -> GraphError:
    """Run the same inputs through both networks of a stage (a CausalNetwork, FineNetwork or CodecNetwork)."""
    a, b = (_outputs(stage, network, vocabulary) for network in (reference, candidate))
    difference = np.abs(a - b).astype(np.float64)
    return GraphError(
        stage,
        relative=float(np.sqrt((difference**2).mean() / max((a.astype(np.float64) ** 2).mean(), 1e-30))),
        largest=float(difference.max()),
        top_1=None if stage == "codec" else float((a.argmax(-1) == b.argmax(-1)).mean()),
        limit=LIMITS["fp32" if stage == "codec" else precision],
    )


def compare_bundles(reference: Bundle, candidate: Bundle) -> Iterator[GraphError]:
    """One graph after the other, so that only two are in memory at a time. Raises BarkError for different models."""
    a, b = reference.manifest, candidate.manifest
    if (a.vocabulary, a.sizes) != (b.vocabulary, b.sizes):
        raise BarkError(f"{reference.directory} and {candidate.directory} are bundles of different models")
    for stage in STAGES:
        networks = open_network(reference, stage), open_network(candidate, stage)
        yield compare(stage, *networks, b.vocabulary, b.precision)


def open_network(bundle: Bundle, stage: str) -> CausalDecoder | FineModel | CodecDecoder:
    """One network of a bundle on the CPU."""
    device = Device.choose("cpu")
    if stage == "fine":
        return open_fine(bundle, device)
    if stage == "codec":
        return open_codec(bundle, device)
    return open_causal(bundle, "semantic" if stage == "semantic" else "coarse", device)


def check_finite(bundle: Bundle) -> None:
    """Run every graph of a bundle once. Raises BundleError if one does not load or returns what is no number."""
    for stage in STAGES:
        if not np.isfinite(_outputs(stage, open_network(bundle, stage), bundle.manifest.vocabulary)).all():
            raise BundleError(f"{bundle.directory}: {stage}.onnx returns values that are not numbers; export it again")


def table(errors: list[GraphError]) -> str:
    """The errors for a person to read."""
    rows = [f"{'graph':10}{'relative error':>16}{'limit':>9}{'largest':>11}{'same top-1':>12}"]
    for error in errors:
        top_1 = "" if error.top_1 is None else f"{100 * error.top_1:.1f} %"
        mark = "" if error.within_limit else "  over the limit"
        rows.append(f"{error.stage:10}{error.relative:16.2e}{error.limit:9.0e}{error.largest:11.2e}{top_1:>12}{mark}")
    return "\n".join(rows)


def _outputs(stage: str, network: Any, vocabulary: Vocabulary) -> FloatArray:
    rng = np.random.default_rng(0)
    if stage == "fine":
        return _fine_outputs(network, rng, vocabulary)
    if stage == "codec":
        return _codec_outputs(network, rng, vocabulary)
    return _causal_outputs(network, rng, vocabulary.semantic_size)


def _causal_outputs(network: CausalNetwork, rng: np.random.Generator, ids: int) -> FloatArray:
    """Logits [1 + STEPS, V]: a prompt with and without history, then decode steps."""
    cache = network.new_cache()
    prompt, history = rng.integers(ids, size=(2, PROMPT))
    history[PROMPT // 2 :] = network.nothing
    logits = [network.prefill(cache, prompt, history).copy()]
    logits += [network.decode_step(cache, [token])[0].copy() for token in rng.integers(ids, size=STEPS).tolist()]
    return np.stack(logits)


def _fine_outputs(network: FineNetwork, rng: np.random.Generator, vocabulary: Vocabulary) -> FloatArray:
    """Logits [3 * fine_window, V] of the first, a middle and the last codebook that the stage fills in."""
    codes = rng.integers(vocabulary.codebook_size + 1, size=(vocabulary.fine_codebooks, vocabulary.fine_window))
    first, last = vocabulary.coarse_codebooks, vocabulary.fine_codebooks - 1
    return np.concatenate([network.logits(codes[None], codebook)[0] for codebook in (first, (first + last) // 2, last)])


def _codec_outputs(network: CodecNetwork, rng: np.random.Generator, vocabulary: Vocabulary) -> FloatArray:
    """Waveforms of chunks: a second, one frame more, fewer frames than the first convolution sees, a second again.

    Two utterances: one all the way; of the other, the third chunk is a whole one, and the fourth begins one.
    """
    second = int(vocabulary.coarse_rate)
    state = network.new_state(2)
    waveforms = []
    for frames, anew in ((second, (True, True)), (1, (False, False)), (5, (False, True)), (second, (False, True))):
        codes = rng.integers(vocabulary.codebook_size, size=(2, vocabulary.fine_codebooks, frames))
        waveforms.append(network.decode_chunk(state, codes, np.array(anew)).ravel())
    return np.concatenate(waveforms)
