"""Check that the graphs of a bundle run, and compare the outputs of two networks."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray, Waveform
from ..errors import BundleError
from ..graphs.codec import CodecDecoder
from ..graphs.decoder import Decoder
from ..graphs.device import Device
from ..graphs.fine import FineModel
from ..graphs.networks import Networks
from ..model.bundle import Bundle
from ..model.manifest import CAUSAL_STAGES, STAGES, graph_file
from ..model.vocabulary import CausalStage, Vocabulary
from ..sampling.distribution import random_stream
from ..sampling.loops import Loops
from ..sampling.sequence import FineWindow, Rule

CPU = Device("cpu")
PROMPT = 160  # positions; more than the runtime prefills in one run
STEPS = 8

HIGHEST_SNR = 150.0  # dB, also for equal waveforms; float32 resolves 144
STFT_WINDOW, STFT_HOP = 1024, 256  # samples
STFT_FLOOR = 1e-8  # of the reference's loudest bin: what is 80 dB below it is inaudible


def check_graphs(bundle: Bundle) -> None:
    """Run every graph of a bundle. Raises BundleError if a graph does not load or returns wrong values."""
    networks = Networks(bundle, CPU, low_memory=True)
    for stage in STAGES:
        if not np.isfinite(_outputs(stage, networks.network(stage), networks.vocabulary)).all():
            file = graph_file(stage)
            raise BundleError(f"{bundle.directory}: {file} returns values that are not numbers; export it again")
    if bundle.manifest.for_gpu:
        _check_samplers(bundle)


def _check_samplers(bundle: Bundle) -> None:
    """Sample some tokens of each stage on the host and with the bundle's graphs. Raises BundleError if they differ."""
    on_host, on_device = (
        Loops(Networks(bundle, replace(CPU, samples=samples), low_memory=True)) for samples in (False, True)
    )
    for stage in CAUSAL_STAGES:
        if _causal_tokens(on_host, stage, bundle) != _causal_tokens(on_device, stage, bundle):
            raise _wrong_sampler(bundle, stage)
    if _fine_tokens(on_host, bundle) != _fine_tokens(on_device, bundle):
        raise _wrong_sampler(bundle, "fine")


def _wrong_sampler(bundle: Bundle, stage: str) -> BundleError:
    return BundleError(
        f"{bundle.directory}: the graphs that sample the {stage} stage choose wrong tokens; export it again"
    )


def _causal_tokens(loops: Loops, stage: CausalStage, bundle: Bundle) -> list[list[int]]:
    """Some tokens without top-k and top-p, and some with both."""
    vocabulary, loop, found = bundle.manifest.vocabulary, loops.causal(stage), []
    choices, first_id = vocabulary.choices(stage), vocabulary.first_id(stage)
    for top_k, top_p in ((None, None), (choices // 2, 0.9)):
        sequence = _Tokens(Rule(choices, 1, 0, 0.7, top_k, top_p), first_id, random_stream(0, "semantic"))
        cache = loop.new_cache()
        errors = loop.begin(cache, sequence, np.arange(PROMPT))
        while sequence.left and not errors:
            errors = loop.step(cache, {0: sequence})
        for error in errors.values():
            raise error
        found.append(sequence.choices)
    return found


def _fine_tokens(loops: Loops, bundle: Bundle) -> list[list[int]]:
    """The codes of a window that is filled from its frame STEPS on."""
    vocabulary, random = bundle.manifest.vocabulary, np.random.default_rng(0)
    codes = random.integers(vocabulary.codebook_size, size=(vocabulary.fine_codebooks, PROMPT))
    window = FineWindow(codes, STEPS, random.random((PROMPT - STEPS, len(codes))), 0.7)
    for error in loops.fine.fill([window], 1).values():
        raise error
    filled: list[list[int]] = codes.tolist()
    return filled


@dataclass
class _Tokens:
    """A sequence of STEPS tokens."""

    rule: Rule
    first_id: int
    stream: np.random.Generator
    choices: list[int] = field(default_factory=list)

    @property
    def left(self) -> int:
        return STEPS - len(self.choices)

    @property
    def last(self) -> int:
        return self.first_id + self.choices[-1]

    def take(self, choice: int) -> None:
        self.choices.append(choice)


def _outputs(stage: str, network: Any, vocabulary: Vocabulary) -> FloatArray:
    rng = np.random.default_rng(0)
    if stage == "fine":
        return _fine_outputs(network, rng, vocabulary)
    if stage == "codec":
        return _codec_outputs(network, rng, vocabulary)
    return _causal_outputs(network, rng, vocabulary.semantic_size)


def _causal_outputs(network: Decoder, rng: np.random.Generator, ids: int) -> FloatArray:
    """Logits [1 + STEPS, V]: a prompt with and without history, then decode steps."""
    cache = network.new_cache()
    prompt, history = rng.integers(ids, size=(2, PROMPT))
    history[PROMPT // 2 :] = network.size.no_history_id
    logits = [network.prefill(cache, prompt, history).copy()]
    logits += [network.decode_step(cache, [token])[0].copy() for token in rng.integers(ids, size=STEPS).tolist()]
    return np.stack(logits)


def _fine_outputs(network: FineModel, rng: np.random.Generator, vocabulary: Vocabulary) -> FloatArray:
    """Logits [3 * fine_window, V] of the first, a middle and the last codebook that the stage fills in."""
    codes = rng.integers(vocabulary.codebook_size + 1, size=(vocabulary.fine_codebooks, vocabulary.fine_window))
    first, last = vocabulary.coarse_codebooks, vocabulary.fine_codebooks - 1
    return np.concatenate([network.logits(codes[None], codebook)[0] for codebook in (first, (first + last) // 2, last)])


def _codec_outputs(network: CodecDecoder, rng: np.random.Generator, vocabulary: Vocabulary) -> FloatArray:
    """The waveforms of four chunks: a second, one frame, fewer frames than the first convolution sees, a second.

    In the first row all chunks are one utterance. In the second row the third chunk is an utterance of its own, and the
    fourth begins another.
    """
    second = int(vocabulary.coarse_rate)
    state = network.new_state(2)
    waveforms = []
    for frames, anew in ((second, (True, True)), (1, (False, False)), (5, (False, True)), (second, (False, True))):
        codes = rng.integers(vocabulary.codebook_size, size=(2, vocabulary.fine_codebooks, frames))
        waveforms.append(network.decode_chunk(state, codes, np.array(anew)).ravel())
    return np.concatenate(waveforms)


def compare_logits(reference: FloatArray, candidate: FloatArray, targets: IntArray) -> NDArray[np.float64]:
    """Compare two networks' logits [n, V] at positions whose true tokens [n] are known, at temperature 1.

    Returns:
        [n, 5], for each position: the true token's negative log-likelihood in nats under the reference, and under the
        candidate; KL(reference || candidate); whether the reference's best token is the candidate's best, and whether
        it is among the candidate's 5 best.
    """
    rows = np.arange(len(targets))
    p, q = _log_softmax(reference), _log_softmax(candidate)
    better = (q > q[rows, p.argmax(axis=-1), None]).sum(axis=-1)
    kl = (np.exp(p) * (p - q)).sum(axis=-1)
    return np.stack([-p[rows, targets], -q[rows, targets], kl, better < 1, better < 5], axis=-1)


def signal_to_noise(reference: Waveform, candidate: Waveform) -> float:
    """The reference's power over the power of the difference, in dB, from -HIGHEST_SNR to HIGHEST_SNR."""
    signal = (reference.astype(np.float64) ** 2).sum()
    noise = ((candidate.astype(np.float64) - reference) ** 2).sum()
    if noise == 0:
        return HIGHEST_SNR
    return float(np.clip(10 * np.log10(max(signal, 1e-300) / noise), -HIGHEST_SNR, HIGHEST_SNR))


def spectral_distances(reference: Waveform, candidate: Waveform) -> NDArray[np.float64]:
    """The log-spectral distance of each frame in dB: the rms over bins of the difference of the log power spectra.

    The STFT has a Hann window of 1024 samples (43 ms) and a hop of 256. Smaller powers are raised to STFT_FLOOR times
    the power of the reference's loudest bin.
    """
    a, b = _power(reference), _power(candidate)
    floor = max(STFT_FLOOR * a.max(), 1e-300)
    decibels = 10 * np.log10(np.maximum(a, floor) / np.maximum(b, floor))
    return np.asarray(np.sqrt((decibels**2).mean(axis=-1)))


def _log_softmax(logits: FloatArray) -> NDArray[np.float64]:
    centred = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(centred - np.log(np.exp(centred).sum(axis=-1, keepdims=True)))


def _power(waveform: Waveform) -> NDArray[np.float64]:
    """Power spectra [frames, bins]; a waveform shorter than a window is padded with silence."""
    padded = np.pad(waveform, (0, max(0, STFT_WINDOW - len(waveform))))
    frames = sliding_window_view(padded, STFT_WINDOW)[::STFT_HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(STFT_WINDOW))) ** 2
