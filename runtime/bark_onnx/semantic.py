"""The semantic stage: text ids -> semantic tokens (reference: `generate_text_semantic`)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .arrays import IntArray
from .models import CausalDecoder, KVCache
from .options import GenerationOptions
from .sampling import probabilities, sample
from .vocabulary import Vocabulary
from .voice import VoicePreset


def semantic_prompt(
    text_ids: IntArray, voice: VoicePreset | None, nothing: int, vocabulary: Vocabulary
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The prompt's input ids and history ids, each [text_window + 1].

    The text and the voice's last semantic tokens share the positions: their embeddings are summed. The infer token
    follows.
    """
    window = vocabulary.text_window
    history = np.full(window, vocabulary.semantic_pad, np.int64)
    if voice is not None:
        last = voice.semantic[-window:]
        history[: len(last)] = last
    return np.append(text_ids, vocabulary.semantic_infer), np.append(history, nothing)


def semantic_tokens(
    decoder: CausalDecoder,
    cache: KVCache,
    text_ids: IntArray,
    voice: VoicePreset | None,
    options: GenerationOptions,
    vocabulary: Vocabulary,
    stream: np.random.Generator,
) -> Iterator[int]:
    """Semantic tokens one by one, until the model ends the utterance or a limit is reached.

    Args:
        text_ids: [text_window], as the tokenizer makes them.
        stream: the stage's random stream; each token takes one number, the end token too.
    """
    limit = token_limit(options.max_seconds, vocabulary)
    logits = decoder.prefill(cache, *semantic_prompt(text_ids, voice, decoder.nothing, vocabulary))
    choices = vocabulary.end_of_sequence + 1 if options.allow_early_stop else vocabulary.end_of_sequence
    for step in range(limit):
        p = probabilities(logits[:choices], options.text_temperature, options.top_k, options.top_p)
        token = int(sample(p, stream.random()))
        if options.allow_early_stop and _ends(token, p, options.min_eos_p, vocabulary):
            return
        yield token
        if step + 1 < limit:
            logits = decoder.decode_step(cache, token)


def _ends(token: int, p: NDArray[np.float64], min_eos_p: float | None, vocabulary: Vocabulary) -> bool:
    """The end token was sampled, or is probable enough after temperature, top-k and top-p."""
    end = vocabulary.end_of_sequence
    return token == end or (min_eos_p is not None and bool(p[end] >= min_eos_p))


def token_limit(max_seconds: float | None, vocabulary: Vocabulary) -> int:
    """Tokens until the time is over, the one that crosses the limit included.

    The reference adds up the tokens' lengths in floating point and so does this, since at a limit that is a whole
    number of tokens the rounding decides.
    """
    if max_seconds is None:
        return vocabulary.max_semantic_tokens
    elapsed = np.cumsum(np.full(vocabulary.max_semantic_tokens, 1 / vocabulary.semantic_rate))
    return min(int(np.searchsorted(elapsed, max_seconds, side="right")) + 1, vocabulary.max_semantic_tokens)
