"""What tests of long texts speak: a tiny model's token space, a text and its passages, a script, voices."""

from dataclasses import replace

import numpy as np

from bark_onnx import VoicePreset
from bark_onnx.long.guards import Problem
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY

SPACE = replace(SMALL_VOCABULARY, fine_window=128, fine_history=64)  # a fine stage that costs next to nothing
END_LIKE = 92  # an utterance ends where this token would have been sampled: after half a second, or three, or none

TEXT = "Hello world. The dog is music!\n\nOf the world, and music: is the laughter of the dogs. Hello"
SAID = ["Hello world. The dog is music!", "Of the world, and music:", "is the laughter of the dogs.", "Hello"]
SCRIPT = "HOST: Hello world.\nGUEST: The dog.\nHOST: Is it music?\n\nGUEST: Laughter.\nHOST: Hello."


def make_voice(seed: int, tokens: int = 60) -> VoicePreset:
    """A voice in the tiny model's token space, of lengths that fit together."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(SPACE.codebook_size, size=(8, SPACE.coarse_length(tokens) // 2))
    return VoicePreset(rng.integers(SPACE.semantic_size, size=tokens), codes[:2], codes)


def same_tokens(one: VoicePreset | None, other: VoicePreset | None) -> bool:
    if one is None or other is None:
        return one is other
    mine, theirs = one.to_prompt(), other.to_prompt()
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


def names(found: tuple[Problem, ...]) -> list[str]:
    return [problem.name for problem in found]
