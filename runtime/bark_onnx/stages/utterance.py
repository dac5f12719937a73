"""One utterance alone: its stages, one call each.

An engine runs the same sequences for many utterances together, step by step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import IntArray, Waveform, check_tokens
from ..errors import NothingSaid
from ..model.voice import VoicePreset
from ..progress import ProgressOption, shown
from ..sampling.distribution import random_stream
from ..sampling.loops import Loops
from .coarse import CoarseSequence, coarse_windows
from .fine import FineSequence, fine_codes
from .options import GenerationOptions
from .semantic import SemanticSequence, semantic_tokens


class Utterance:
    """The stages of one utterance. Each has the networks for itself: other threads wait until it ends.

    Args:
        loops: of the networks.
        voice: the history of the stages.
        options: how to sample.
        seed: each stage has a random stream of its own, drawn from it.
        progress: is told how far a stage is.

    Attributes:
        timings: compute seconds of each stage that has run.
    """

    def __init__(
        self, loops: Loops, voice: VoicePreset | None, options: GenerationOptions, seed: int, progress: ProgressOption
    ) -> None:
        self._loops = loops
        self._networks = loops.networks
        self._vocabulary = self._networks.vocabulary
        self._voice = voice
        self._options = options
        self._progress = progress
        self.seed = seed
        self.timings: dict[str, float] = {}

    def semantic(self, text_ids: IntArray) -> IntArray:
        """Ids of a text [text_window] -> semantic tokens [S]; S is 0 if the model has nothing to say."""
        stream, vocabulary = random_stream(self.seed, "semantic"), self._vocabulary
        with self._running("semantic"):
            no_history_id = self._networks.sizes.semantic.no_history_id
            sequence = SemanticSequence(text_ids, self._voice, self._options, vocabulary, no_history_id, stream)
            steps = semantic_tokens(self._loops.semantic, self._loops.one_row_cache("semantic"), sequence)
            tokens: IntArray = np.fromiter(shown(steps, "semantic", sequence.limit, self._progress), np.int64)
            return tokens

    def coarse(self, semantic: ArrayLike) -> IntArray:
        """Semantic tokens [S] -> coarse codes [2, T]. Raises NothingSaid if they are too few for one frame."""
        stream, vocabulary = random_stream(self.seed, "coarse"), self._vocabulary
        if np.size(semantic) == 0:
            raise NothingSaid
        tokens = check_tokens("semantic tokens", semantic, (None,), vocabulary.semantic_size)
        if self._voice is not None:
            self._voice.warn_if_uneven(vocabulary)
        with self._running("coarse"):
            context = self._networks.sizes.coarse.context
            sequence = CoarseSequence(self._voice, self._options, vocabulary, context, stream)
            sequence.feed(tokens.tolist(), ended=True)
            if not sequence.total:
                raise NothingSaid
            windows = coarse_windows(self._loops.coarse, self._loops.one_row_cache("coarse"), sequence)
            for _ in shown(windows, "coarse", -(-sequence.total // self._options.sliding_window), self._progress):
                pass
            return sequence.codes()

    def fine(self, coarse: ArrayLike) -> IntArray:
        """Coarse codes [n, T] of the first n codebooks -> the codes of all codebooks [8, T]."""
        stream, vocabulary = random_stream(self.seed, "fine"), self._vocabulary
        books = range(1, vocabulary.fine_codebooks)
        given = check_tokens("coarse codes", coarse, (books, None), vocabulary.codebook_size)
        with self._running("fine"):
            sequence = FineSequence(self._voice, self._options, vocabulary, stream, given=len(given))
            sequence.feed(given, ended=True)
            windows = fine_codes(self._loops.fine, sequence)
            *_, codes = shown(windows, "fine", sequence.window_count, self._progress)
            return codes.copy()

    def decode(self, fine: ArrayLike) -> Waveform:
        """Fine codes [8, T] -> waveform [320 T]."""
        books = self._vocabulary.fine_codebooks
        codes = check_tokens("fine codes", fine, (range(books, books + 1), None), self._vocabulary.codebook_size)
        with self._running("codec"):
            return self._networks.codec.decode(codes)

    @contextmanager
    def _running(self, stage: str) -> Iterator[None]:
        """Run a stage. With low memory its network is dropped afterwards."""
        with self._networks.lock:
            self._networks.check_open()
            start = perf_counter()
            try:
                yield
            finally:
                self._networks.release()
                self.timings[stage] = perf_counter() - start
