"""Loops that sample on the host: the logits of each run are read back, and tokens are drawn with numpy."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import BarkError
from ..graphs.cache import KVCache
from ..graphs.decoder import Decoder
from ..graphs.fine import FineModel
from .distribution import draw, probabilities, sample
from .sequence import Errors, FineWindow, TokenSequence


class HostLoop:
    """Samples the sequences of a causal decoder."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def new_cache(self, rows: int = 1) -> KVCache:
        return self._decoder.new_cache(rows)

    def release(self, cache: KVCache) -> None:
        """The cache is freed with its last reference."""

    def begin(
        self,
        cache: KVCache,
        sequence: TokenSequence,
        prompt_ids: IntArray,
        history_ids: IntArray | None = None,
        row: int = 0,
    ) -> Errors:
        logits = self._decoder.prefill(cache, prompt_ids, history_ids, row)
        return _take(logits[None], {row: sequence})

    def step(self, cache: KVCache, sequences: Mapping[int, TokenSequence]) -> Errors:
        last = [sequence.last for sequence in sequences.values()]
        return _take(self._decoder.decode_step(cache, last, list(sequences)), sequences)


def _take(logits: FloatArray, sequences: Mapping[int, TokenSequence]) -> Errors:
    """Sample the next token of each sequence from its row of logits [n, V]."""
    errors: Errors = {}
    for (row, sequence), own in zip(sequences.items(), logits, strict=True):
        try:
            sequence.take(draw(own, sequence.rule, sequence.stream.random()))
        except BarkError as error:
            errors[row] = error
    return errors


# Frames of a fine window that are sampled together. Sampling takes several arrays of 64 bits. For all 1024 frames of a
# window they have 34 MB; for 64 frames they fit in the processor's cache, which takes 7 instead of 10 ms for a window.
SAMPLED_FRAMES = 64


class HostFine:
    """Samples the codebooks of the fine model."""

    def __init__(self, model: FineModel) -> None:
        self._model = model

    def fill(self, windows: Sequence[FineWindow], given: int) -> Errors:
        errors: Errors = {}
        for codebook in range(given, len(windows[0].codes)):
            logits = self._model.logits(np.stack([window.codes for window in windows]), codebook)
            for place, (window, own) in enumerate(zip(windows, logits, strict=True)):
                try:
                    _fill(window, codebook, own)
                except BarkError as error:
                    errors.setdefault(place, error)
        return errors


def _fill(window: FineWindow, codebook: int, logits: FloatArray) -> None:
    """Sample one codebook of a window's frames from their logits [T, V]."""
    for start in range(window.fill, len(logits), SAMPLED_FRAMES):
        frames = slice(start, start + SAMPLED_FRAMES)
        p = probabilities(logits[frames], window.temperature)
        uniforms = window.uniforms[start - window.fill :, codebook]
        window.codes[codebook, frames] = sample(p, uniforms[: len(p)])
