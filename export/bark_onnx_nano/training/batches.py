"""Batches of the corpus's tokens, and what the networks' batches have in common."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..corpus.tokens import Tokens
from ..units import UNITS
from .loop import Batch

VALIDATION = 100  # utterances at the start of the corpus, on which the coarse and the fine model are not trained
ROWS = 4
WITH_HISTORY = 0.85  # share of the examples that have another utterance of the voice as history
IGNORED = -100  # the target of positions without a loss


class TokenBatches(ABC):
    """Batches for the coarse or the fine model. A batch depends only on the seed and on its step."""

    def __init__(self, tokens: Tokens, seed: int) -> None:
        self.tokens, self.seed = tokens, seed
        self._training = [indices[indices >= VALIDATION] for indices in tokens.of_voice()]
        self._voices = [int(semantic[0]) // UNITS for semantic in tokens.semantic]

    def __call__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, step))
        return self.make(random.integers(VALIDATION, len(self.tokens), ROWS), random)

    def same_voice(self, index: int, random: np.random.Generator) -> int:
        """Return a random training utterance of the voice of utterance `index`."""
        return int(random.choice(self._training[self._voices[index]]))

    @abstractmethod
    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        """Return a batch of these utterances."""
