"""Prompts on which the transformers are calibrated, made from voice presets as the runtime makes them.

Every position of a prompt counts for the activations. At the positions in `predicted`, the quantised model's
distributions are compared with those of the original.

If there are fewer voices than PROMPTS, they are used again for other prompts. Without voices the tokens are random: the
largest values of a channel depend far more on the weights than on the tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bark_onnx.arrays import IntArray
from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.coarse import coarse_context, flatten_codes
from bark_onnx.stages.semantic import semantic_prompt

PROMPTS = 4
SECONDS = 4.0  # the length of a random voice


@dataclass(frozen=True)
class Prompt:
    """One run of a transformer.

    Attributes:
        inputs: for a causal transformer input ids, history ids and positions, each [1, S]; for the fine model codes
            [1, T, codebooks] and the codebook [].
        predicted: [n], the positions whose logits are compared.
        first: [n], the first of the `choices` logits that count at each of them.
        choices: the number of logits that count.
    """

    inputs: tuple[Tensor, ...]
    predicted: Tensor
    first: Tensor
    choices: int


def prompts(stage: str, size: TransformerSize, voices: Sequence[VoicePreset], vocabulary: Vocabulary) -> list[Prompt]:
    """Return PROMPTS prompts of the coarse or fine model, or twice as many of the semantic model."""
    rng = np.random.default_rng(0)
    voices = voices or [random_voice(rng, vocabulary) for _ in range(PROMPTS)]
    chosen = [voices[n * len(voices) // PROMPTS] for n in range(PROMPTS)]
    if stage == "coarse":
        return [_coarse(voice, size, vocabulary) for voice in chosen]
    if stage == "fine":
        books = np.linspace(vocabulary.coarse_codebooks, vocabulary.fine_codebooks - 1, PROMPTS).round().astype(int)
        return [_fine(voice, int(book), size, vocabulary) for voice, book in zip(chosen, books, strict=True)]
    found = []
    for voice in chosen:
        no_text = np.full(vocabulary.text_window, vocabulary.text_pad)
        text = rng.integers(vocabulary.text_offset, vocabulary.text_pad, vocabulary.text_window)
        # A random text has nothing to do with the voice's tokens. So it counts for the activations only.
        found += [_semantic(voice, no_text, size, vocabulary), _semantic(voice, text, size, vocabulary, predict=False)]
    return found


def _semantic(
    voice: VoicePreset, text_ids: IntArray, size: TransformerSize, vocabulary: Vocabulary, *, predict: bool = True
) -> Prompt:
    """The second half of the voice's last tokens follows a prompt with the first half as its history."""
    tokens = voice.semantic[-2 * vocabulary.text_window :]
    half = len(tokens) // 2
    before = VoicePreset(tokens[:half], voice.coarse, voice.fine) if half else None
    ids, history = semantic_prompt(text_ids, before, size.no_history_id, vocabulary)
    after = tokens[half:]
    ids, history = np.append(ids, after), np.append(history, np.full(len(after), size.no_history_id))
    predicted = np.arange(vocabulary.text_window, min(len(ids), size.context) if predict else 0)
    return _causal(ids, history, predicted, np.zeros_like(predicted), vocabulary.semantic_choices, size)


def _coarse(voice: VoicePreset, size: TransformerSize, vocabulary: Vocabulary) -> Prompt:
    """A full window from the beginning of the voice. Every one of its codes is predicted from those before it."""
    codes = flatten_codes(voice.coarse, vocabulary)[: vocabulary.max_coarse_history]
    ids = coarse_context(voice.semantic, 0, codes, vocabulary.max_coarse_history, vocabulary)
    predicted = np.arange(vocabulary.coarse_semantic_window, min(len(ids), size.context))
    first = np.arange(len(predicted)) % vocabulary.coarse_codebooks * vocabulary.codebook_size
    history = np.full(len(ids), size.no_history_id)
    return _causal(ids, history, predicted, first, vocabulary.codebook_size, size)


def _causal(
    ids: IntArray, history: IntArray, predicted: IntArray, first: IntArray, choices: int, size: TransformerSize
) -> Prompt:
    arrays = (x[: size.context].astype(np.int64) for x in (ids, history, np.arange(len(ids))))
    inputs = tuple(torch.from_numpy(x)[None] for x in arrays)
    return Prompt(inputs, torch.from_numpy(predicted), torch.from_numpy(first.astype(np.int64)), choices)


def _fine(voice: VoicePreset, codebook: int, size: TransformerSize, vocabulary: Vocabulary) -> Prompt:
    """The first window of the voice, in which the codebooks from `codebook` on are padding."""
    codes = voice.fine[:, : vocabulary.fine_window]
    window = np.full((vocabulary.fine_codebooks, vocabulary.fine_window), vocabulary.codebook_size, np.int64)
    window[:codebook, : codes.shape[1]] = codes[:codebook]
    frames = torch.arange(codes.shape[1])
    inputs = (torch.from_numpy(window.T.copy())[None, : size.context], torch.tensor(codebook))
    return Prompt(inputs, frames, torch.zeros_like(frames), vocabulary.codebook_size)


def random_voice(rng: np.random.Generator, vocabulary: Vocabulary) -> VoicePreset:
    """Return a voice of SECONDS with random tokens."""
    semantic = rng.integers(vocabulary.semantic_size, size=round(SECONDS * vocabulary.semantic_rate))
    fine = rng.integers(
        vocabulary.codebook_size, size=(vocabulary.fine_codebooks, round(SECONDS * vocabulary.coarse_rate))
    )
    return VoicePreset(semantic, fine[: vocabulary.coarse_codebooks], fine)
