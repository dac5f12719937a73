"""The coarse stage: semantic tokens -> the codes of the first two codebooks (reference: `generate_coarse`).

Codes are generated flattened, frame by frame and codebook by codebook, `sliding_window` of them at a time. For each
window the context is laid anew: a stretch of semantic tokens around the current time, the infer token, the last
codes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray, IntArray
from .errors import BarkError
from .models import CausalDecoder, KVCache
from .options import GenerationOptions
from .sampling import probabilities, sample
from .vocabulary import Vocabulary
from .voice import VoicePreset


class CoarseHistory(NamedTuple):
    """What a voice puts before the utterance: semantic tokens [n] and flattened coarse ids [m] for the same time."""

    semantic: IntArray
    coarse: IntArray


def flatten_codes(codes: IntArray, vocabulary: Vocabulary) -> IntArray:
    """Codes [codebooks, T] -> ids [codebooks * T] in the coarse model's id space, frame by frame."""
    first_ids = vocabulary.semantic_size + vocabulary.codebook_size * np.arange(len(codes))
    return (codes + first_ids[:, None]).T.ravel()


def unflatten_codes(ids: IntArray, vocabulary: Vocabulary) -> IntArray:
    """The inverse of `flatten_codes`."""
    codes = ids.reshape(-1, vocabulary.coarse_codebooks).T
    return (codes - vocabulary.semantic_size) % vocabulary.codebook_size


def coarse_history(voice: VoicePreset | None, max_coarse_history: int, vocabulary: Vocabulary) -> CoarseHistory:
    """The voice's last tokens, trimmed so that both kinds cover the same time."""
    if voice is None:
        return CoarseHistory(np.zeros(0, np.int64), np.zeros(0, np.int64))
    ratio = vocabulary.coarse_per_semantic
    flat = flatten_codes(voice.coarse, vocabulary)
    kept = min(
        vocabulary.max_semantic_history(max_coarse_history),
        len(voice.semantic) // 2 * 2,
        int(len(flat) / ratio),
    )
    codes = round(kept * ratio)
    # The reference drops one frame more, "for time alignment (sounds better)".
    return CoarseHistory(voice.semantic[len(voice.semantic) - kept :], flat[len(flat) - codes : len(flat) - 2])


def coarse_windows(
    decoder: CausalDecoder,
    cache: KVCache,
    semantic: IntArray,
    voice: VoicePreset | None,
    options: GenerationOptions,
    vocabulary: Vocabulary,
    stream: np.random.Generator,
) -> Iterator[IntArray]:
    """Flattened coarse ids, one sliding window of them at a time.

    Args:
        semantic: [S] semantic tokens, S at least 1.
        stream: the stage's random stream; each code takes one number.
    """
    max_history = options.coarse_history(vocabulary)
    room = decoder.size.context - vocabulary.coarse_semantic_window
    if max_history + options.sliding_window > room:
        raise BarkError(
            f"max_coarse_history {max_history} and sliding_window {options.sliding_window} together are over the "
            f"{room} codes that fit in the model's context"
        )
    history = coarse_history(voice, max_history, vocabulary)
    semantic = np.concatenate([history.semantic, semantic])
    total = vocabulary.coarse_length(len(semantic) - len(history.semantic))
    ids = np.concatenate([history.coarse, np.zeros(total, np.int64)])
    for start in range(0, total, options.sliding_window):
        position = len(history.semantic) + round(start / vocabulary.coarse_per_semantic)
        before = len(history.coarse) + start
        window = ids[before : before + options.sliding_window]
        logits = decoder.prefill(cache, coarse_context(semantic, position, ids[:before], max_history, vocabulary))
        for step in range(len(window)):
            if step:
                logits = decoder.decode_step(cache, window[step - 1])
            codebook = (start + step) % vocabulary.coarse_codebooks
            window[step] = _sample_code(logits, codebook, options, vocabulary, stream.random())
        yield window


def coarse_context(
    semantic: IntArray, position: int, ids: IntArray, max_history: int, vocabulary: Vocabulary
) -> NDArray[np.int64]:
    """The ids a window starts from: semantic tokens (padded), the infer token, at most `max_history` coarse ids.

    Args:
        semantic: the history's tokens and the utterance's.
        position: the semantic token that is being spoken when the window starts.
        ids: all coarse ids so far, the history's included.
    """
    length = vocabulary.coarse_semantic_window
    seen = semantic[max(0, position - vocabulary.max_semantic_history(max_history)) :][:length]
    padding = np.full(length - len(seen), vocabulary.coarse_semantic_pad)
    return np.concatenate([seen, padding, [vocabulary.coarse_infer], ids[-max_history:]])


def _sample_code(
    logits: FloatArray, codebook: int, options: GenerationOptions, vocabulary: Vocabulary, uniform: float
) -> int:
    """One coarse id; only the codebook whose turn it is can be sampled. The logits cover all coarse codebooks."""
    first = codebook * vocabulary.codebook_size
    own = logits[first : first + vocabulary.codebook_size]
    p = probabilities(own, options.coarse_temperature, options.top_k, options.top_p)
    return vocabulary.semantic_size + first + int(sample(p, uniform))
