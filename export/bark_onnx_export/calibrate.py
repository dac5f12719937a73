"""How large keys and values get, channel by channel: the scales of a KV cache of 8 bits.

The prompts are a stage's own, of voices where the checkpoint has some and else of tokens by chance: what a channel
holds depends far more on the weights than on what is said.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bark_onnx.arrays import IntArray
from bark_onnx.model.bundle import CausalStage
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.coarse import coarse_context, flatten_codes
from bark_onnx.stages.semantic import semantic_prompt

from .causal import CausalDecoder

PROMPTS = 4
MARGIN = 1.25  # beyond the largest that was seen
SECONDS = 4.0  # of a voice by chance


def cache_scales(module: CausalDecoder, stage: CausalStage, voices: Sequence[VoicePreset], space: Vocabulary) -> Tensor:
    """Scales [2 * layers, width], of each layer's keys and then its values."""
    rng = np.random.default_rng(0)
    voices = [*voices[:PROMPTS], *(_random_voice(rng, space) for _ in range(PROMPTS - len(voices[:PROMPTS])))]
    context, nothing = module.position_embedding.num_embeddings, module.token_embedding.num_embeddings - 1
    largest: Tensor | None = None
    for voice in voices:
        ids, history = (x[:context] for x in _prompt(stage, voice, nothing, rng, space))
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
    stage: CausalStage, voice: VoicePreset, nothing: int, rng: np.random.Generator, space: Vocabulary
) -> tuple[IntArray, IntArray]:
    """Input and history ids: a text by chance with the voice as history and going on; a full coarse window."""
    if stage == "semantic":
        text = rng.integers(space.text_offset, space.text_pad, space.text_window)
        ids, history = semantic_prompt(text, voice, nothing, space)
        after = voice.semantic[: space.max_semantic_tokens]
        return np.append(ids, after), np.append(history, np.full(len(after), nothing))
    coarse = flatten_codes(voice.coarse, space)
    ids = coarse_context(voice.semantic, 0, coarse, space.max_coarse_history, space)
    return ids, np.full(len(ids), nothing)


def _random_voice(rng: np.random.Generator, space: Vocabulary) -> VoicePreset:
    semantic = rng.integers(space.semantic_size, size=round(SECONDS * space.semantic_rate))
    fine = rng.integers(space.codebook_size, size=(space.fine_codebooks, round(SECONDS * space.coarse_rate)))
    return VoicePreset(semantic, fine[: space.coarse_codebooks], fine)
