"""Excerpts of voice presets that a network can be forced along: what it sees, and what is true at each position.

semantic   the end of a preset, with its beginning as the history. A preset has no text: the text window is all pads.
coarse     windows, prompts and all, of the utterance that the preset is; each codebook's own logits.
fine       the first window of the preset, without history; each codebook given the true ones before it, and
           itself padding at every frame, as when it is generated.
codec      the codes of that window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import VoiceError
from ..graphs.decoder import CausalDecoder
from ..graphs.device import Device
from ..graphs.models import CodecDecoder, FineModel
from ..graphs.networks import open_causal, open_fine
from ..model.bundle import Bundle, Manifest
from ..model.voice import VoicePreset, find_voice
from ..sampling.sampling import random_stream
from ..stages.coarse import CoarseSequence, coarse_windows, flatten_codes
from ..stages.codec import waveform
from ..stages.fine import FineSequence, fine_codes
from ..stages.options import GenerationOptions
from ..stages.semantic import SemanticSequence, semantic_prompt, semantic_tokens

T = TypeVar("T")

VOICES = 4  # of the bundle's, if none is named; each costs a window of the fine model
SEED = 0  # of the tokens that a bundle without voices generates


class Excerpt(Protocol):
    @property
    def targets(self) -> IntArray: ...  # [n], what is true; for the codec, the codes [codebooks, n]
    def run(self, network: Any) -> FloatArray: ...  # logits [n, V] of a network of its stage; a waveform


@dataclass(frozen=True)
class CausalExcerpt:
    """`ids` [n] that follow a prompt; each is the target'th of `choices` logits from `first` on."""

    prompt: IntArray
    history: IntArray | None
    ids: IntArray
    targets: IntArray
    first: IntArray
    choices: int

    def run(self, network: CausalDecoder) -> FloatArray:
        cache = network.new_cache()
        logits = [network.prefill(cache, self.prompt, self.history)]
        logits += [network.decode_step(cache, [token])[0].copy() for token in self.ids[:-1].tolist()]
        return np.stack([row[first : first + self.choices] for row, first in zip(logits, self.first, strict=True)])


@dataclass(frozen=True)
class FineExcerpt:
    """A window of codes [codebooks, length], of whose first n frames a codebook is predicted."""

    window: IntArray
    codebook: int
    targets: IntArray

    def run(self, network: FineModel) -> FloatArray:
        return network.logits(self.window[None], self.codebook)[0, : len(self.targets)]


@dataclass(frozen=True)
class CodecExcerpt:
    """Codes [codebooks, n], of which nothing is predicted."""

    targets: IntArray

    def run(self, network: CodecDecoder) -> FloatArray:
        return waveform(network, self.targets)


def excerpts(stage: str, voice: VoicePreset, share: int, manifest: Manifest) -> Iterator[Excerpt]:
    """A stage's excerpts of a voice.

    Args:
        share: semantic tokens to predict, and coarse codes of the same time, in whole windows. The fine stage and the
            codec have one window, as long as that may be.
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
    """At most half of the voice, so that there is a history."""
    space = manifest.vocabulary
    count = min(share, len(voice.semantic) // 2, space.max_semantic_tokens)
    before, ids = VoicePreset(voice.semantic[:-count], voice.coarse, voice.fine), voice.semantic[-count:]
    nothing = manifest.sizes.semantic.input_vocabulary
    prompt, history = semantic_prompt(np.full(space.text_window, space.text_pad), before, nothing, space)
    return CausalExcerpt(prompt, history, ids, ids, np.zeros_like(ids), space.semantic_choices)


def _coarse_excerpts(voice: VoicePreset, share: int, manifest: Manifest) -> Iterator[CausalExcerpt]:
    """Windows from all over the utterance, so that there are short contexts and full ones."""
    space, options = manifest.vocabulary, GenerationOptions(coarse_temperature=0)
    sequence = CoarseSequence(None, options, space, manifest.sizes.coarse.context, random_stream(SEED, "coarse"))
    sequence.hear(voice.semantic[: space.max_semantic_tokens].tolist(), ended=True)
    ids = flatten_codes(voice.coarse, space)[: sequence.total]
    windows = range(0, len(ids), options.sliding_window)
    wanted = _spread(windows, max(1, round(share * space.coarse_per_semantic / options.sliding_window)))
    for start in windows:
        prompt, own = sequence.begin_window(), ids[start : start + options.sliding_window]
        choices = own - space.semantic_size
        if start in wanted:
            targets = choices % space.codebook_size
            yield CausalExcerpt(prompt, None, own, targets, choices - targets, space.codebook_size)
        for choice in choices.tolist():  # the next windows follow the true codes
            sequence.take(choice)


def _fine_excerpts(voice: VoicePreset, manifest: Manifest) -> Iterator[FineExcerpt]:
    space = manifest.vocabulary
    codes = voice.fine[:, : space.fine_window]
    sequence = FineSequence(None, GenerationOptions(), space, random_stream(SEED, "fine"))
    sequence.hear(codes[: space.coarse_codebooks], ended=True)
    sequence.begin_window()
    for codebook in range(space.coarse_codebooks, space.fine_codebooks):
        yield FineExcerpt(sequence.window.copy(), codebook, codes[codebook])
        sequence.window[codebook, : codes.shape[1]] = codes[codebook]


def find_voices(bundle: Bundle, names: Sequence[str | Path], tokens: int) -> dict[str, VoicePreset]:
    """The presets to force networks along, by their names.

    Args:
        names: names of the bundle's voices, or `.npz` files. None of them: VOICES of the bundle's, evenly spread over
            their names, or, if it has none, `tokens` semantic tokens and their codes that it generates from SEED.

    Raises VoiceError for a voice that is not to be found, is not this model's, or is too short.
    """
    space = bundle.manifest.vocabulary
    if not names and not bundle.voices:
        return {f"generated from seed {SEED}": _generate(bundle, min(max(tokens, 2), space.max_semantic_tokens))}
    found = {}
    for name in names or _spread(list(bundle.voices), VOICES):
        voice = VoicePreset.load(find_voice(name, bundle.voices))
        try:
            voice.check(space)
            if len(voice.semantic) < 2:
                raise VoiceError("the voice has one semantic token, and two are the fewest that can be measured")
        except VoiceError as error:
            raise VoiceError(f"{name}: {error}") from None
        found[str(name)] = voice
    return found


def _generate(bundle: Bundle, tokens: int) -> VoicePreset:
    """What a bundle says with no text and no voice; never more than two graphs in memory."""
    space, device = bundle.manifest.vocabulary, Device.choose("cpu")
    options = GenerationOptions(max_seconds=(tokens - 0.5) / space.semantic_rate, allow_early_stop=False)
    no_text = np.full(space.text_window, space.text_pad)
    decoder = open_causal(bundle, "semantic", device)
    said = SemanticSequence(no_text, None, options, space, decoder.nothing, random_stream(SEED, "semantic"))
    semantic = list(semantic_tokens(decoder, decoder.new_cache(), said))
    decoder = open_causal(bundle, "coarse", device)
    spoken = CoarseSequence(None, options, space, decoder.size.context, random_stream(SEED, "coarse"))
    spoken.hear(semantic, ended=True)
    for _ in coarse_windows(decoder, decoder.new_cache(), spoken):
        pass
    filled = FineSequence(None, options, space, random_stream(SEED, "fine"))
    filled.hear(spoken.codes(), ended=True)
    *_, fine = fine_codes(open_fine(bundle, device), filled)
    return VoicePreset(np.array(semantic), spoken.codes(), fine)


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of them: the middle ones of as many equal parts."""
    count = min(count, len(items))
    return [items[(2 * n + 1) * len(items) // (2 * count)] for n in range(count)]
