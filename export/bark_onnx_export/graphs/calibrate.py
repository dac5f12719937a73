"""The scales of an 8-bit KV cache, from the largest keys and values of each channel.

They are measured on prompts that are made from the checkpoint's voices, or from random tokens if it has too few. A
channel's values depend far more on the weights than on the tokens.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bark_onnx.arrays import IntArray
from bark_onnx.model.vocabulary import CausalStage, Vocabulary
from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.coarse import coarse_context, flatten_codes
from bark_onnx.stages.semantic import semantic_prompt

from ..modules.causal import CausalModule

PROMPTS = 4
MARGIN = 1.25  # over the largest value found
SECONDS = 4.0  # the length of a random voice


def cache_scales(
    module: CausalModule, stage: CausalStage, voices: Sequence[VoicePreset], vocabulary: Vocabulary
) -> Tensor:
    """Return scales [2 * layers, width]: for each layer the scales of its keys, then of its values."""
    rng = np.random.default_rng(0)
    voices = [*voices[:PROMPTS], *(_random_voice(rng, vocabulary) for _ in range(PROMPTS - len(voices[:PROMPTS])))]
    context, no_history_id = module.position_embedding.num_embeddings, module.token_embedding.num_embeddings - 1
    largest: Tensor | None = None
    for voice in voices:
        ids, history = (x[:context] for x in _prompt(stage, voice, no_history_id, rng, vocabulary))
        length, width = len(ids), module.norm.normalized_shape[0]
        shape = (1, module.heads, length, width // module.heads)
        past = [torch.zeros(shape) for _ in range(2 * len(module.blocks))]
        inputs = [torch.from_numpy(x.astype(np.int64))[None] for x in (ids, history, np.arange(length))]
        with torch.inference_mode():
            last, total = torch.tensor([length - 1], dtype=torch.int32), torch.tensor(length, dtype=torch.int32)
            _, *present = module(*inputs, last, total, *past)
        seen = torch.stack([x.float().abs().amax(dim=2).flatten() for x in present])
        largest = seen if largest is None else torch.maximum(largest, seen)
    assert largest is not None
    return (largest.clone() * MARGIN / 127).clamp_min(1e-6)


def _prompt(
    stage: CausalStage, voice: VoicePreset, no_history_id: int, rng: np.random.Generator, vocabulary: Vocabulary
) -> tuple[IntArray, IntArray]:
    """Return input and history ids of a prompt.

    For the semantic stage it is a random text with the voice as its history, and then the voice's tokens as if they
    were generated. For the coarse stage it is a full window of the voice.
    """
    if stage == "semantic":
        text = rng.integers(vocabulary.text_offset, vocabulary.text_pad, vocabulary.text_window)
        ids, history = semantic_prompt(text, voice, no_history_id, vocabulary)
        after = voice.semantic[: vocabulary.max_semantic_tokens]
        return np.append(ids, after), np.append(history, np.full(len(after), no_history_id))
    coarse = flatten_codes(voice.coarse, vocabulary)
    ids = coarse_context(voice.semantic, 0, coarse, vocabulary.max_coarse_history, vocabulary)
    return ids, np.full(len(ids), no_history_id)


def _random_voice(rng: np.random.Generator, vocabulary: Vocabulary) -> VoicePreset:
    """Return a voice of SECONDS with random tokens."""
    semantic = rng.integers(vocabulary.semantic_size, size=round(SECONDS * vocabulary.semantic_rate))
    fine = rng.integers(
        vocabulary.codebook_size, size=(vocabulary.fine_codebooks, round(SECONDS * vocabulary.coarse_rate))
    )
    return VoicePreset(semantic, fine[: vocabulary.coarse_codebooks], fine)
