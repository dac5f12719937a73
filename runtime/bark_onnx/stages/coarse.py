"""The coarse stage: semantic tokens -> the codes of the first two codebooks (reference: `generate_coarse`).

Codes are generated flattened, frame by frame and codebook by codebook, in windows of `sliding_window` codes. Each
window has a prompt of its own: the semantic tokens around the current time, the infer token, and the last codes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..errors import BarkError
from ..graphs.cache import KVCache
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from ..sampling.loops import CausalLoop
from ..sampling.sequence import Rule
from .options import GenerationOptions


class CoarseHistory(NamedTuple):
    """A voice's tokens before the utterance: semantic tokens [n] and flattened coarse ids [m] of the same time."""

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
    """A voice's last tokens, trimmed so that both kinds cover the same time."""
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
    """One utterance in the coarse stage: the semantic tokens fed so far, and the codes sampled from them.

    It does not have to wait for the semantic stage to end: a window can begin as soon as every semantic token in its
    prompt has been fed. Its codes are the same then.

    Args:
        context: positions of the coarse model (`TransformerSize.context`).
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
        self._input_ended = False
        self._window_end = 0  # codes of the utterance at which the window that has begun is full
        self._options = options
        self._vocabulary = vocabulary
        self.stream = stream

    def feed(self, tokens: Iterable[int], *, ended: bool) -> None:
        """Add semantic tokens; `ended` if they are the last ones."""
        self._semantic += tokens
        self._input_ended = ended

    @property
    def length(self) -> int:
        """The number of flattened codes so far."""
        return len(self._ids) - self._before[1]

    @property
    def seconds(self) -> float:
        """Seconds of speech that the codes so far have."""
        return self.length / (self._vocabulary.coarse_codebooks * self._vocabulary.coarse_rate)

    @property
    def total(self) -> int:
        """The number of flattened codes for the semantic tokens fed so far."""
        return self._vocabulary.coarse_length(len(self._semantic) - self._before[0])

    @property
    def ended(self) -> bool:
        return self._input_ended and self.length == self.total

    @property
    def in_window(self) -> bool:
        """Whether a window has begun and is not full."""
        return self.length < self._window_end

    @property
    def can_begin(self) -> bool:
        """Whether the next window's semantic tokens have all been fed, and enough of them that it can become full."""
        if self.in_window or self._input_ended:
            return not self.in_window and not self.ended
        sees = max(0, self._position - self._vocabulary.max_semantic_history(self._max_history))
        return (
            len(self._semantic) >= sees + self._vocabulary.coarse_semantic_window
            # More than the window, since the last code must not be sampled before it is known to be the last.
            and self.total > self.length + self._options.sliding_window
        )

    @property
    def _position(self) -> int:
        """The index of the semantic token at the current time."""
        return self._before[0] + round(self.length / self._vocabulary.coarse_per_semantic)

    def begin_window(self) -> NDArray[np.int64]:
        """Begin the next window and return its prompt [S]."""
        self._window_end = min(self.length + self._options.sliding_window, self.total)
        semantic, ids = np.array(self._semantic, np.int64), np.array(self._ids, np.int64)
        return coarse_context(semantic, self._position, ids, self._max_history, self._vocabulary)

    @property
    def rule(self) -> Rule:
        """How the next code is sampled. The logits cover all coarse codebooks, which take turns."""
        options, vocabulary = self._options, self._vocabulary
        books = vocabulary.coarse_codebooks
        sampling = options.coarse_temperature, options.top_k, options.top_p
        return Rule(vocabulary.codebook_size, books, self.length % books, *sampling)

    @property
    def left(self) -> int:
        """The number of codes until the window is full."""
        return self._window_end - self.length

    def take(self, choice: int) -> None:
        """Add the window's next code, given as an index of the logits."""
        self._ids.append(self._vocabulary.semantic_size + choice)

    @property
    def last(self) -> int:
        """The id to decode next."""
        return self._ids[-1]

    def codes(self, start: int = 0) -> IntArray:
        """The codes [coarse_codebooks, T] of all complete frames from `start` on."""
        books = self._vocabulary.coarse_codebooks
        whole = self._ids[self._before[1] + start * books : self._before[1] + self.length // books * books]
        return unflatten_codes(np.array(whole, np.int64), self._vocabulary)


def coarse_windows(loop: CausalLoop, cache: KVCache, sequence: CoarseSequence) -> Iterator[int]:
    """Sample all windows of an utterance whose semantic tokens have all been fed.

    Yields the number of flattened codes so far, after each window.
    """
    cache.clear()
    while sequence.can_begin:
        errors = loop.begin(cache, sequence, sequence.begin_window())
        while not errors and sequence.in_window:
            errors = loop.step(cache, {0: sequence})
        for error in errors.values():
            raise error
        yield sequence.length


def coarse_context(
    semantic: IntArray, position: int, ids: IntArray, max_history: int, vocabulary: Vocabulary
) -> NDArray[np.int64]:
    """A window's prompt: semantic tokens (padded), the infer token, at most `max_history` coarse ids.

    Args:
        semantic: the tokens of the history and of the utterance.
        position: the index of the semantic token at the time when the window starts.
        ids: the coarse ids of the history and of the utterance so far.
    """
    length = vocabulary.coarse_semantic_window
    seen = semantic[max(0, position - vocabulary.max_semantic_history(max_history)) :][:length]
    padding = np.full(length - len(seen), vocabulary.coarse_semantic_pad)
    return np.concatenate([seen, padding, [vocabulary.coarse_infer], ids[-max_history:]])
