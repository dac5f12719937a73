"""The fine stage: coarse codes -> the codes of all codebooks (reference: `generate_fine`).

The model is not causal. It sees a window of frames and predicts one codebook after another at every frame of it.
Windows move by half their length; where two overlap, the later one overwrites the earlier.

Streaming cannot wait for windows of 14 s. It fills chunks instead: a shorter window of some frames before and of the
new ones. Each frame is predicted once, and sees no later frames than those of its chunk. So its codes may differ from
those of whole windows.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from ..sampling.loops import FineLoop
from ..sampling.sequence import Errors, FineWindow
from .options import GenerationOptions


class Window(NamedTuple):
    """The model sees the frames [start, start + length) and predicts those from `fill` on."""

    start: int
    fill: int
    length: int


def fine_windows(frames: int, history: int, vocabulary: Vocabulary, *, padding: bool) -> list[Window]:
    """The windows over `history` frames of a voice and `frames` new ones.

    Args:
        padding: whether a single window has its whole length; False: only the frames that there are.
    """
    length, hop = vocabulary.fine_window, vocabulary.fine_history
    if not padding and history + frames < length:
        return [Window(0, history, history + frames)]
    total = max(history + frames, length)
    count = max(0, -(-(frames - (length - history)) // hop)) + 1
    return [Window(min(n * hop, total - length), min(history + n * hop, total - hop), length) for n in range(count)]


class FineSequence:
    """One utterance in the fine stage: the coarse codes fed so far, and the codes filled in.

    Args:
        given: the number of codebooks that are fed; None: the coarse ones.
        stream: the stage's random stream. The place of a frame in the utterance decides which of its numbers the frame
            takes, so they do not depend on the windows.
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
        self.frames = 0  # of the utterance, fed so far
        self.input_ended = False
        self.final = 0  # frames that no later window will change, once the current one is filled
        self.window: IntArray = np.zeros((codebooks, 0), np.int64)  # codes [codebooks, length], filled in place
        self._codes = history.copy()  # of the history, the utterance, and the padding behind it
        self._before = history.shape[1]
        self._windows = 0
        self._fill = 0
        self._draws = _Draws(codebooks, stream)
        self._uniforms = np.zeros((0, codebooks))
        self._temperature, self._padding = options.fine_temperature, options.fine_padding
        self._vocabulary = vocabulary

    def feed(self, coarse: IntArray, *, ended: bool) -> None:
        """Add coarse codes [given, n]; `ended` if they are the last ones."""
        self._append(coarse)
        self.frames += coarse.shape[1]
        self.input_ended = ended

    def codes(self, start: int = 0, stop: int | None = None) -> IntArray:
        """The codes [codebooks, n] of the frames from `start` to `stop`; None: to the last one fed."""
        stop = self.frames if stop is None else stop
        return self._codes[:, self._before + start : self._before + stop]

    @property
    def window_count(self) -> int:
        """The number of windows of the whole utterance; valid when all of it has been fed."""
        return len(fine_windows(self.frames, self._before, self._vocabulary, padding=self._padding))

    @property
    def can_begin(self) -> bool:
        """Whether there is another window of the whole utterance, and all of its frames have been fed."""
        return self._next_window() is not None

    def begin_window(self) -> None:
        """Prepare the next window of the whole utterance, for `fill`."""
        window = self._next_window()
        assert window is not None  # the caller has checked `can_begin`
        self._windows += 1
        self._begin(window)
        if self.input_ended:
            following = self._next_window()
            self.final = self.frames if following is None else following.fill - self._before
        else:  # the end is not known yet, and the last window will begin `fine_history` frames before it
            hop = self._vocabulary.fine_history
            self.final = max(0, min(self._before + self._windows * hop, self._codes.shape[1] - hop) - self._before)

    def begin_chunk(self, frames: int, context: int) -> None:
        """Prepare the next `frames` frames, with up to `context` frames before them, for `fill`.

        No later chunk will change them.
        """
        fill = self._before + self.final
        start = max(0, fill - context)
        self._begin(Window(start, fill, fill + frames - start))
        self.final += frames

    @property
    def current(self) -> FineWindow:
        """The window that has been prepared, and the numbers to fill it with."""
        return FineWindow(self.window, self._fill, self._uniforms, self._temperature)

    def _next_window(self) -> Window | None:
        if self.input_ended:
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
        """Add frames at the end: the given codes [up to codebooks, n], and padding in the other codebooks."""
        shape = (self._vocabulary.fine_codebooks, given.shape[1])
        new = np.full(shape, self._vocabulary.codebook_size, np.int64)
        new[: len(given)] = given
        self._codes = np.concatenate([self._codes, new], axis=1)


def fill(loop: FineLoop, sequences: Sequence[FineSequence]) -> Errors:
    """Fill the windows that these utterances have prepared; windows of one length run together.

    Returns:
        The errors of single utterances, by their places.
    """
    errors: Errors = {}
    alike: dict[tuple[int, int], list[int]] = {}
    for place, sequence in enumerate(sequences):
        alike.setdefault((sequence.given, sequence.window.shape[1]), []).append(place)
    for (given, _), places in alike.items():
        found = loop.fill([sequences[place].current for place in places], given)
        errors |= {places[n]: error for n, error in found.items()}
    return errors


def fine_codes(loop: FineLoop, sequence: FineSequence) -> Iterator[IntArray]:
    """Fill all windows of an utterance whose coarse codes have all been fed.

    Yields the codes so far [codebooks, T], after each window.
    """
    while sequence.can_begin:
        sequence.begin_window()
        for error in fill(loop, [sequence]).values():
            raise error
        yield sequence.codes()


class _Draws:
    """Uniform numbers by frame: [frames, 2, codebooks], since the overlap of two windows is sampled twice."""

    def __init__(self, codebooks: int, stream: np.random.Generator) -> None:
        self._numbers = np.zeros((0, 2, codebooks))
        self._taken = np.zeros(0, np.int64)
        self._stream = stream

    def take(self, first: int, last: int) -> NDArray[np.float64]:
        """The numbers [last - first, codebooks] for the next time that these frames are sampled."""
        missing = max(0, last - len(self._taken))
        new = self._stream.random((missing, *self._numbers.shape[1:]))
        self._numbers = np.concatenate([self._numbers, new])
        self._taken = np.concatenate([self._taken, np.zeros(missing, np.int64)])
        numbers = self._numbers[np.arange(first, last), self._taken[first:last]]
        self._taken[first:last] += 1
        return numbers
