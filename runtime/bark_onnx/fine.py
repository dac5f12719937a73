"""The fine stage: coarse codes -> the codes of all codebooks (reference: `generate_fine`).

The model is not causal. It sees a window of frames and predicts one codebook after the other at every frame of it;
windows move by half their length, and the later one overwrites where they overlap.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import IntArray
from .models import FineModel
from .options import GenerationOptions
from .sampling import probabilities, sample
from .vocabulary import Vocabulary
from .voice import VoicePreset


class Window(NamedTuple):
    """Frames [start, start + fine_window) are seen; those from `fill` on are predicted."""

    start: int
    fill: int


def fine_windows(frames: int, history: int, vocabulary: Vocabulary) -> list[Window]:
    """The windows over `history` frames of a voice and `frames` new ones; padding fills up a single window."""
    length, hop = vocabulary.fine_window, vocabulary.fine_history
    total = max(history + frames, length)
    count = max(0, -(-(frames - (length - history)) // hop)) + 1
    return [Window(min(n * hop, total - length), min(history + n * hop, total - hop)) for n in range(count)]


def fine_codes(
    model: FineModel,
    coarse: IntArray,
    voice: VoicePreset | None,
    options: GenerationOptions,
    vocabulary: Vocabulary,
    stream: np.random.Generator,
) -> Iterator[IntArray]:
    """All codes so far [fine_codebooks, T] after each window; the last ones are the result.

    Args:
        coarse: codes of the first codebooks [n, T].
        stream: the stage's random stream. A frame takes its numbers from a place of its own in it, however the
            windows fall.
    """
    given, frames = coarse.shape
    length, pad = vocabulary.fine_window, vocabulary.codebook_size
    history = (
        voice.fine[:, -vocabulary.fine_history :] if voice is not None else np.zeros((vocabulary.fine_codebooks, 0))
    )
    before = history.shape[1]
    codes = np.full((vocabulary.fine_codebooks, max(before + frames, length)), pad, np.int64)
    codes[:, :before] = history
    codes[:given, before : before + frames] = coarse
    draws = _Draws(codes.shape[1] - before, vocabulary.fine_codebooks, stream)
    for start, fill in fine_windows(frames, before, vocabulary):
        window = codes[:, start : start + length]
        uniforms = draws.take(fill - before, start + length - before)
        for codebook in range(given, vocabulary.fine_codebooks):
            logits = model.logits(window, codebook)[fill - start :]
            p = probabilities(logits, options.fine_temperature)
            window[codebook, fill - start :] = sample(p, uniforms[:, codebook])
        yield codes[:, before : before + frames]


class _Draws:
    """Uniform numbers by frame: [frames, visits, codebooks], since the overlap of two windows is sampled twice."""

    def __init__(self, frames: int, codebooks: int, stream: np.random.Generator) -> None:
        self._numbers = stream.random((frames, 2, codebooks))
        self._visits = np.zeros(frames, np.int64)

    def take(self, first: int, last: int) -> NDArray[np.float64]:
        """Numbers [last - first, codebooks] for these frames' next visit."""
        numbers = self._numbers[np.arange(first, last), self._visits[first:last]]
        self._visits[first:last] += 1
        return numbers
