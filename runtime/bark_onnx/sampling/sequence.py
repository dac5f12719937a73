"""What the loops that sample need of a sequence, whatever its tokens mean."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..errors import BarkError

NOT_NUMBERS = "the model returned logits that are not numbers; the bundle or its precision does not work here"

Errors: TypeAlias = dict[int, BarkError]
"""The errors of single sequences, by their rows or places; the other sequences are not affected."""


class Rule(NamedTuple):
    """The logits that a token is sampled from, and the way it is sampled.

    Args:
        choices: choices of one codebook.
        codebooks: codebooks that the logits cover, one after another. The tokens of a sequence are of each in turn.
        codebook: the codebook of the next token.
        temperature, top_k, top_p: as in GenerationOptions.
        end: the choice that ends the sequence; None if no choice does.
        min_eos_p: the sequence also ends if `end` has at least this probability; None: only if it is sampled.
    """

    choices: int
    codebooks: int
    codebook: int
    temperature: float
    top_k: int | None
    top_p: float | None
    end: int | None = None
    min_eos_p: float | None = None

    @property
    def first(self) -> int:
        """The index of the logits at which the next token's codebook begins."""
        return self.codebook * self.choices


class TokenSequence(Protocol):
    """A sequence that is sampled token by token."""

    stream: np.random.Generator  # each token takes one number

    @property
    def rule(self) -> Rule:
        """The rule of the next token."""

    @property
    def left(self) -> int:
        """The most tokens to sample before the sequence ends or needs another prompt; 0 if it does now."""

    @property
    def last(self) -> int:
        """The id to decode next."""

    def take(self, choice: int) -> None:
        """Add a sampled token, given as an index of the logits."""


@dataclass(frozen=True)
class FineWindow:
    """A window of frames, and the numbers to sample its missing codebooks with.

    Args:
        codes: [codebooks, T], filled in place.
        fill: the first frame to fill; the model only sees those before it.
        uniforms: [T - fill, codebooks] in [0, 1).
    """

    codes: IntArray
    fill: int
    uniforms: NDArray[np.float64]
    temperature: float
