"""The coarse stage: semantic tokens -> the codes of the first two codebooks (reference: `generate_coarse`).

Codes are generated flattened, frame by frame and codebook by codebook, `sliding_window` of them at a time. For each
window the context is laid anew: a stretch of semantic tokens around the current time, the infer token, the last
codes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..errors import BarkError
from ..graphs.decoder import CausalDecoder, KVCache
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from ..sampling.sampling import Rule
from .options import GenerationOptions


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


class CoarseSequence:
    """One utterance in the coarse stage: the semantic tokens heard so far, and the codes sampled from them.

    It need not wait for the semantic stage to end: a window can begin as soon as every semantic token that it sees is
    there, and its codes are then the same as ever.

    Args:
        context: positions of the coarse model.
        stream: the stage's random stream; each code takes one number.
    """

    def __init__(
        self,
        voice: VoicePreset | None,
        options: GenerationOptions,
        vocabulary: Vocabulary,
        context: int,
        stream: np.random.Generator,
    ) -> None:
        self._max_history = options.coarse_history(vocabulary)
        room = context - vocabulary.coarse_semantic_window
        if self._max_history + options.sliding_window > room:
            raise BarkError(
                f"max_coarse_history {self._max_history} and sliding_window {options.sliding_window} together are over "
                f"the {room} codes that fit in the model's context"
            )
        history = coarse_history(voice, self._max_history, vocabulary)
        self._before = (len(history.semantic), len(history.coarse))
        self._semantic: list[int] = history.semantic.tolist()
        self._ids: list[int] = history.coarse.tolist()
        self._heard_all = False
        self._window_end = 0  # codes of the utterance at which the window that has begun is full
        self._options = options
        self._vocabulary = vocabulary
        self.stream = stream

    def hear(self, tokens: Iterable[int], *, ended: bool) -> None:
        """Take more semantic tokens; `ended` when no more will come."""
        self._semantic += tokens
        self._heard_all = ended

    @property
    def length(self) -> int:
        """Flattened codes so far."""
        return len(self._ids) - self._before[1]

    @property
    def total(self) -> int:
        """Flattened codes that the semantic tokens heard so far stand for."""
        return self._vocabulary.coarse_length(len(self._semantic) - self._before[0])

    @property
    def ended(self) -> bool:
        return self._heard_all and self.length == self.total

    @property
    def in_window(self) -> bool:
        """A window has begun and is not full."""
        return self.length < self._window_end

    @property
    def can_begin(self) -> bool:
        """The next window sees no semantic token that has not been heard, and is not cut short by the end so far."""
        if self.in_window or self._heard_all:
            return not self.in_window and not self.ended
        sees = max(0, self._position - self._vocabulary.max_semantic_history(self._max_history))
        return (
            len(self._semantic) >= sees + self._vocabulary.coarse_semantic_window
            # Above it, not at it: should the end come next, the utterance must not have ended already.
            and self.total > self.length + self._options.sliding_window
        )

    @property
    def _position(self) -> int:
        """The semantic token that is being spoken now."""
        return self._before[0] + round(self.length / self._vocabulary.coarse_per_semantic)

    def begin_window(self) -> NDArray[np.int64]:
        """The prompt [S] of the next window."""
        self._window_end = min(self.length + self._options.sliding_window, self.total)
        semantic, ids = np.array(self._semantic, np.int64), np.array(self._ids, np.int64)
        return coarse_context(semantic, self._position, ids, self._max_history, self._vocabulary)

    @property
    def rule(self) -> Rule:
        """How the next code is sampled: from the codebook whose turn it is. The logits cover all coarse codebooks."""
        options, space = self._options, self._vocabulary
        turn = self.length % space.coarse_codebooks
        return Rule(
            space.codebook_size, space.coarse_codebooks, turn, options.coarse_temperature, options.top_k, options.top_p
        )

    @property
    def left(self) -> int:
        """Codes to come until the window is full."""
        return self._window_end - self.length

    def take(self, choice: int) -> None:
        """The window's next code, as an index of the logits."""
        self._ids.append(self._vocabulary.semantic_size + choice)

    @property
    def last(self) -> int:
        """The id to be decoded next."""
        return self._ids[-1]

    def codes(self, start: int = 0) -> IntArray:
        """The codes [coarse_codebooks, T] of the frames from `start` that are complete."""
        books = self._vocabulary.coarse_codebooks
        whole = self._ids[self._before[1] + start * books : self._before[1] + self.length // books * books]
        return unflatten_codes(np.array(whole, np.int64), self._vocabulary)


def coarse_windows(decoder: CausalDecoder, cache: KVCache, sequence: CoarseSequence) -> Iterator[int]:
    """Sample window after window of an utterance that has been heard to its end; the codes so far after each."""
    cache.clear()
    while sequence.can_begin:
        errors = decoder.begin(cache, sequence, sequence.begin_window())
        while not errors and sequence.in_window:
            errors = decoder.go_on(cache, {0: sequence})
        for error in errors.values():
            raise error
        yield sequence.length


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
