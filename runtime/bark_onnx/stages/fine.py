"""The fine stage: coarse codes -> the codes of all codebooks (reference: `generate_fine`).

The model is not causal. It sees a window of frames and predicts one codebook after the other at every frame of it;
windows move by half their length, and the later one overwrites where they overlap.

Streaming has no time for windows of 14 s. It fills chunks: a shorter window of the frames before and the new ones, each
frame predicted once, with nothing of its future but the chunk's own. Those codes may differ from the windows'.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..errors import BarkError
from ..graphs.models import FineModel, FineWindow
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from .options import GenerationOptions


class Window(NamedTuple):
    """Frames [start, start + length) are seen; those from `fill` on are predicted."""

    start: int
    fill: int
    length: int


def fine_windows(frames: int, history: int, vocabulary: Vocabulary, *, padding: bool) -> list[Window]:
    """The windows over `history` frames of a voice and `frames` new ones.

    Args:
        padding: fill up a single window; False makes it as short as what it holds.
    """
    length, hop = vocabulary.fine_window, vocabulary.fine_history
    if not padding and history + frames < length:
        return [Window(0, history, history + frames)]
    total = max(history + frames, length)
    count = max(0, -(-(frames - (length - history)) // hop)) + 1
    return [Window(min(n * hop, total - length), min(history + n * hop, total - hop), length) for n in range(count)]


class FineSequence:
    """One utterance in the fine stage: the coarse codes heard so far, and the codes filled in.

    Args:
        given: codebooks that the coarse codes bring.
        stream: the stage's random stream. A frame takes its numbers from a place of its own in it, however the
            windows fall.
    """

    def __init__(
        self,
        voice: VoicePreset | None,
        options: GenerationOptions,
        vocabulary: Vocabulary,
        stream: np.random.Generator,
        given: int | None = None,
    ) -> None:
        codebooks = vocabulary.fine_codebooks
        before = np.zeros((codebooks, 0), np.int64) if voice is None else voice.fine
        longest = min(options.max_fine_history, vocabulary.fine_history)
        history = before[:, max(0, before.shape[1] - longest) :]
        self.given = vocabulary.coarse_codebooks if given is None else given
        self.frames = 0  # of the utterance, heard so far
        self.heard_all = False
        self.final = 0  # frames whose codes no window will change any more, once the one that has begun is filled
        self.window: IntArray = np.zeros((codebooks, 0), np.int64)  # codes [codebooks, length], filled in place
        self._codes = history.copy()  # of the history, the utterance, and the padding behind it
        self._before = history.shape[1]
        self._windows = 0
        self._fill = 0
        self._draws = _Draws(codebooks, stream)
        self._uniforms = np.zeros((0, codebooks))
        self._temperature, self._padding = options.fine_temperature, options.fine_padding
        self._vocabulary = vocabulary

    def hear(self, coarse: IntArray, *, ended: bool) -> None:
        """Take more coarse codes [given, n]; `ended` when no more will come."""
        self._append(coarse)
        self.frames += coarse.shape[1]
        self.heard_all = ended

    def codes(self, start: int = 0, stop: int | None = None) -> IntArray:
        """The codes [codebooks, n] of frames from `start` to `stop`; None: to the last heard."""
        stop = self.frames if stop is None else stop
        return self._codes[:, self._before + start : self._before + stop]

    @property
    def window_count(self) -> int:
        """Windows of the whole utterance, once it has been heard."""
        return len(fine_windows(self.frames, self._before, self._vocabulary, padding=self._padding))

    @property
    def can_begin(self) -> bool:
        """There is a next window of the whole utterance, and every frame it sees has been heard."""
        return self._next_window() is not None

    def begin_window(self) -> None:
        """Lay out the next window of the whole utterance in `window`, for `fill`."""
        window = self._next_window()
        assert window is not None  # the caller has asked `can_begin`
        self._windows += 1
        self._begin(window)
        if self.heard_all:
            following = self._next_window()
            self.final = self.frames if following is None else following.fill - self._before
        else:  # the last window reaches back to `fine_history` frames before the end, which is not yet known
            hop = self._vocabulary.fine_history
            self.final = max(0, min(self._before + self._windows * hop, self._codes.shape[1] - hop) - self._before)

    def begin_chunk(self, frames: int, context: int) -> None:
        """Lay out the next `frames` frames, with up to `context` before them; no other chunk will change them."""
        fill = self._before + self.final
        start = max(0, fill - context)
        self._begin(Window(start, fill, fill + frames - start))
        self.final += frames

    @property
    def asked(self) -> FineWindow:
        """The window that has begun, as the model takes it."""
        return FineWindow(self.window, self._fill, self._uniforms, self._temperature)

    def _next_window(self) -> Window | None:
        if self.heard_all:
            windows = fine_windows(self.frames, self._before, self._vocabulary, padding=self._padding)
            return windows[self._windows] if self._windows < len(windows) else None
        start, length = self._windows * self._vocabulary.fine_history, self._vocabulary.fine_window
        return Window(start, self._before + start, length) if start + length <= self._codes.shape[1] else None

    def _begin(self, window: Window) -> None:
        end = window.start + window.length
        self._append(np.zeros((0, max(0, end - self._codes.shape[1])), np.int64))
        self.window = self._codes[:, window.start : end]
        self._fill = window.fill - window.start
        self._uniforms = self._draws.take(window.fill - self._before, end - self._before)

    def _append(self, given: IntArray) -> None:
        """More frames at the end: the given codes [up to codebooks, n], and padding for the rest."""
        shape = (self._vocabulary.fine_codebooks, given.shape[1])
        new = np.full(shape, self._vocabulary.codebook_size, np.int64)
        new[: len(given)] = given
        self._codes = np.concatenate([self._codes, new], axis=1)


def fill(model: FineModel, sequences: Sequence[FineSequence]) -> dict[int, BarkError]:
    """Fill in the windows that these utterances have begun; those of one length together.

    Returns:
        What went wrong with some of them, by their places; the others are none the worse for it.
    """
    errors: dict[int, BarkError] = {}
    alike: dict[tuple[int, int], list[int]] = {}
    for place, sequence in enumerate(sequences):
        alike.setdefault((sequence.given, sequence.window.shape[1]), []).append(place)
    for (given, _), places in alike.items():
        found = model.fill([sequences[place].asked for place in places], given)
        errors |= {places[n]: error for n, error in found.items()}
    return errors


def fine_codes(model: FineModel, sequence: FineSequence) -> Iterator[IntArray]:
    """All codes so far [codebooks, T] after each window of an utterance that has been heard to its end."""
    while sequence.can_begin:
        sequence.begin_window()
        for error in fill(model, [sequence]).values():
            raise error
        yield sequence.codes()


class _Draws:
    """Uniform numbers by frame: [frames, visits, codebooks], since the overlap of two windows is sampled twice."""

    def __init__(self, codebooks: int, stream: np.random.Generator) -> None:
        self._numbers = np.zeros((0, 2, codebooks))
        self._visits = np.zeros(0, np.int64)
        self._stream = stream

    def take(self, first: int, last: int) -> NDArray[np.float64]:
        """Numbers [last - first, codebooks] for these frames' next visit."""
        missing = max(0, last - len(self._visits))
        new = self._stream.random((missing, *self._numbers.shape[1:]))
        self._numbers = np.concatenate([self._numbers, new])
        self._visits = np.concatenate([self._visits, np.zeros(missing, np.int64)])
        numbers = self._numbers[np.arange(first, last), self._visits[first:last]]
        self._visits[first:last] += 1
        return numbers
