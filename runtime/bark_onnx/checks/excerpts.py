"""Excerpts of voice presets: inputs for a network, and the true token at each position.

semantic   The end of a preset, with its beginning as the history. A preset has no text, so the text window is all pads.
coarse     Windows of the preset's utterance with their prompts; the logits of each code's own codebook.
fine       The first window of the preset, without history. Each codebook is predicted from the true codebooks before
           it, and is itself all padding, as in generation.
codec      The codes of that window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import VoiceError
from ..graphs.decoder import Decoder
from ..graphs.device import Device
from ..graphs.networks import Networks
from ..model.bundle import Bundle
from ..model.manifest import Manifest
from ..model.voice import VoicePreset, find_voice
from ..sampling.distribution import random_stream
from ..sampling.loops import Loops
from ..stages.coarse import CoarseSequence, coarse_windows, flatten_codes
from ..stages.fine import FineSequence, fine_codes
from ..stages.options import GenerationOptions
from ..stages.semantic import SemanticSequence, semantic_prompt, semantic_tokens

T = TypeVar("T")

VOICES = 4  # the bundle's voices that are used if none is named; each costs a window of the fine model
SEED = 0  # for the tokens that a bundle without voices generates
SHORTEST = 2  # semantic tokens of a voice that can be measured
_GENERATED = f"generated from seed {SEED}"


class Excerpt(Protocol):
    @property
    def targets(self) -> IntArray: ...  # the true tokens [n]; for the codec, the codes [codebooks, n]
    def run(self, network: Any) -> FloatArray: ...  # the logits [n, V] of a network of the stage; or a waveform


class CausalPredictor(Protocol):
    """A causal transformer that predicts given tokens."""

    def predict(self, prompt: IntArray, history: IntArray | None, ids: IntArray) -> FloatArray:
        """Return the logits [n, V] of each of the ids [n] that follow a prompt, given the true ids before it."""


@dataclass(frozen=True)
class StepByStep:
    """A decoder as in generation: a prefill, then a decode step for each id."""

    decoder: Decoder

    def predict(self, prompt: IntArray, history: IntArray | None, ids: IntArray) -> FloatArray:
        cache = self.decoder.new_cache()
        logits = [self.decoder.prefill(cache, prompt, history)]
        logits += [self.decoder.decode_step(cache, [token])[0].copy() for token in ids[:-1].tolist()]
        return np.stack(logits)


class FinePredictor(Protocol):
    def logits(self, codes: IntArray, codebook: int) -> FloatArray: ...


class WaveformDecoder(Protocol):
    def decode(self, codes: IntArray) -> FloatArray: ...


@dataclass(frozen=True)
class CausalExcerpt:
    """Ids [n] that follow a prompt.

    Each is one of `choices` logits, which begin at `first` [n]; `targets` [n] says which of them.
    """

    prompt: IntArray
    history: IntArray | None
    ids: IntArray
    targets: IntArray
    first: IntArray
    choices: int

    def run(self, network: CausalPredictor) -> FloatArray:
        logits = network.predict(self.prompt, self.history, self.ids)
        return np.stack([row[first : first + self.choices] for row, first in zip(logits, self.first, strict=True)])


@dataclass(frozen=True)
class FineExcerpt:
    """A window of codes [codebooks, length]; one codebook of its first n frames is predicted."""

    window: IntArray
    codebook: int
    targets: IntArray

    def run(self, network: FinePredictor) -> FloatArray:
        return network.logits(self.window[None], self.codebook)[0, : len(self.targets)]


@dataclass(frozen=True)
class CodecExcerpt:
    """Codes [codebooks, n] to decode; nothing is predicted."""

    targets: IntArray

    def run(self, network: WaveformDecoder) -> FloatArray:
        return network.decode(self.targets)


def excerpts(stage: str, voice: VoicePreset, share: int, manifest: Manifest) -> Iterator[Excerpt]:
    """A stage's excerpts of a voice.

    Args:
        share: the number of semantic tokens to predict, and of coarse codes for the same time, in whole windows. The
            fine stage and the codec always have one window, at most as long as the model's.
    """
    if stage == "semantic":
        yield _semantic_excerpt(voice, share, manifest)
    elif stage == "coarse":
        yield from _coarse_excerpts(voice, share, manifest)
    elif stage == "fine":
        yield from _fine_excerpts(voice, manifest)
    else:
        yield CodecExcerpt(voice.fine[:, : manifest.vocabulary.fine_window])


def _semantic_excerpt(voice: VoicePreset, share: int, manifest: Manifest) -> CausalExcerpt:
    """Predict at most half of the voice, so that the rest can be the history."""
    vocabulary = manifest.vocabulary
    count = min(share, len(voice.semantic) // 2, vocabulary.max_semantic_tokens)
    before, ids = VoicePreset(voice.semantic[:-count], voice.coarse, voice.fine), voice.semantic[-count:]
    no_history_id = manifest.sizes.semantic.no_history_id
    no_text = np.full(vocabulary.text_window, vocabulary.text_pad)
    prompt, history = semantic_prompt(no_text, before, no_history_id, vocabulary)
    return CausalExcerpt(prompt, history, ids, ids, np.zeros_like(ids), vocabulary.semantic_choices)


def _coarse_excerpts(voice: VoicePreset, share: int, manifest: Manifest) -> Iterator[CausalExcerpt]:
    """Windows from the whole utterance, so that there are short contexts and full ones."""
    vocabulary, options = manifest.vocabulary, GenerationOptions(coarse_temperature=0)
    sequence = CoarseSequence(None, options, vocabulary, manifest.sizes.coarse.context, random_stream(SEED, "coarse"))
    sequence.feed(voice.semantic[: vocabulary.max_semantic_tokens].tolist(), ended=True)
    ids = flatten_codes(voice.coarse, vocabulary)[: sequence.total]
    windows = range(0, len(ids), options.sliding_window)
    wanted = _spread(windows, max(1, round(share * vocabulary.coarse_per_semantic / options.sliding_window)))
    for start in windows:
        prompt, own = sequence.begin_window(), ids[start : start + options.sliding_window]
        choices = own - vocabulary.semantic_size
        if start in wanted:
            targets = choices % vocabulary.codebook_size
            yield CausalExcerpt(prompt, None, own, targets, choices - targets, vocabulary.codebook_size)
        for choice in choices.tolist():  # the next windows follow the true codes
            sequence.take(choice)


def _fine_excerpts(voice: VoicePreset, manifest: Manifest) -> Iterator[FineExcerpt]:
    vocabulary = manifest.vocabulary
    codes = voice.fine[:, : vocabulary.fine_window]
    sequence = FineSequence(None, GenerationOptions(), vocabulary, random_stream(SEED, "fine"))
    sequence.feed(codes[: vocabulary.coarse_codebooks], ended=True)
    sequence.begin_window()
    for codebook in range(vocabulary.coarse_codebooks, vocabulary.fine_codebooks):
        yield FineExcerpt(sequence.window.copy(), codebook, codes[codebook])
        sequence.window[codebook, : codes.shape[1]] = codes[codebook]


def voice_names(bundle: Bundle) -> list[str]:
    """The names of the voices that are used if none is named."""
    return measurable(bundle) or [_GENERATED]


def measurable(bundle: Bundle) -> list[str]:
    """Up to VOICES of the bundle's voices that are long enough to be measured."""
    long_enough = [name for name, path in bundle.voices.items() if len(VoicePreset.load(path).semantic) >= SHORTEST]
    return _spread(long_enough, VOICES)


def find_voices(bundle: Bundle, names: Sequence[str | Path], tokens: int) -> dict[str, VoicePreset]:
    """The voice presets to take excerpts of, by name.

    Args:
        names: names of the bundle's voices, or `.npz` files. If empty, VOICES of the bundle's voices are used, evenly
            spread over the names. A bundle without voices generates `tokens` semantic tokens and their codes from SEED.

    Raises VoiceError for a voice that does not exist, does not fit this model, or is too short.
    """
    vocabulary = bundle.manifest.vocabulary
    if not names and not measurable(bundle):
        return {_GENERATED: _generate(bundle, min(max(tokens, 2), vocabulary.max_semantic_tokens))}
    found = {}
    for name in names or voice_names(bundle):
        voice = VoicePreset.load(find_voice(name, bundle.voices))
        try:
            voice.check(vocabulary)
            if len(voice.semantic) < SHORTEST:
                raise VoiceError("the voice has one semantic token, and two are the fewest that can be measured")
        except VoiceError as error:
            raise VoiceError(f"{name}: {error}") from None
        found[str(name)] = voice
    return found


def _generate(bundle: Bundle, tokens: int) -> VoicePreset:
    """Generate a voice without text and without history."""
    networks = Networks(bundle, Device.choose("cpu"), low_memory=True)
    loops, vocabulary, sizes = Loops(networks), networks.vocabulary, networks.sizes
    options = GenerationOptions(max_seconds=(tokens - 0.5) / vocabulary.semantic_rate, allow_early_stop=False)
    no_text = np.full(vocabulary.text_window, vocabulary.text_pad)
    stream, no_history_id = random_stream(SEED, "semantic"), sizes.semantic.no_history_id
    spoken = SemanticSequence(no_text, None, options, vocabulary, no_history_id, stream)
    loop = loops.semantic
    semantic = list(semantic_tokens(loop, loop.new_cache(), spoken))
    coarse = CoarseSequence(None, options, vocabulary, sizes.coarse.context, random_stream(SEED, "coarse"))
    coarse.feed(semantic, ended=True)
    loop = loops.coarse
    for _ in coarse_windows(loop, loop.new_cache(), coarse):
        pass
    del loop  # so that the fine model is the only network in memory
    fine = FineSequence(None, options, vocabulary, random_stream(SEED, "fine"))
    fine.feed(coarse.codes(), ended=True)
    *_, codes = fine_codes(loops.fine, fine)
    return VoicePreset(np.array(semantic), coarse.codes(), codes)


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items: the middle ones of as many equal parts."""
    count = min(count, len(items))
    return [items[(2 * n + 1) * len(items) // (2 * count)] for n in range(count)]
