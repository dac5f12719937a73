"""Logits to tokens: pure functions, the randomness handed in.

A seed fixes the tokens: every stage has a random stream of its own, every sampled token takes one uniform number from
it, and the inverse of the cumulative distribution turns that number into a token. So neither batching nor streaming
nor the device changes what a seed means.
"""

import secrets
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray
from ..errors import BarkError
from ..numbers import check_seed

NOT_NUMBERS = "the model returned logits that are not numbers; the bundle or its precision does not work here"
_STREAMS = {"semantic": 0, "coarse": 1, "fine": 2}


class Rule(NamedTuple):
    """What the tokens of a sequence are sampled from, and how.

    Args:
        width: choices of one set.
        sets: sets of choices that lie behind one another in the logits, and take turns.
        turn: the set of the next token.
        temperature, top_k, top_p: as in GenerationOptions.
        end: the choice that ends the sequence, if one does; it is then taken too where its probability is at least
            `min_eos_p`.
    """

    width: int
    sets: int
    turn: int
    temperature: float
    top_k: int | None
    top_p: float | None
    end: int | None = None
    min_eos_p: float | None = None


class TokenSequence(Protocol):
    """What a causal decoder goes on with: one sequence, token by token."""

    stream: np.random.Generator  # each token takes one number

    @property
    def rule(self) -> Rule:
        """Of the next token."""

    @property
    def left(self) -> int:
        """Tokens that it takes, at most, before it ends or needs another prompt; 0 when it does."""

    @property
    def last(self) -> int:
        """The id to be decoded next."""

    def take(self, choice: int) -> None:
        """Add what was sampled, as an index of the logits."""


def draw(logits: FloatArray, sequence: TokenSequence) -> None:
    """Sample a sequence's next token from logits [V]. Raises BarkError if they are not numbers."""
    rule = sequence.rule
    first = rule.turn * rule.width
    p = probabilities(logits[first : first + rule.width], rule.temperature, rule.top_k, rule.top_p)
    choice = int(sample(p, sequence.stream.random()))
    if rule.end is not None and rule.min_eos_p is not None and p[rule.end] >= rule.min_eos_p:
        choice = rule.end
    sequence.take(first + choice)


def draw_seed() -> int:
    """A seed for a caller who gave none, short enough to be read back and typed."""
    return secrets.randbits(32)


def random_stream(seed: int, stage: Literal["semantic", "coarse", "fine"]) -> np.random.Generator:
    """The stage's own stream of uniform numbers, independent of the other stages' for the same seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(check_seed(seed), spawn_key=(_STREAMS[stage],))))


def probabilities(
    logits: FloatArray, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> NDArray[np.float64]:
    """Sampling probabilities [..., V] of logits [..., V]; at temperature 0 all of it on the largest logit.

    The order is the reference's (`generate_text_semantic`): top-p on the plain logits, then top-k, then temperature.

    Raises BarkError if the largest logit is not a finite number; -inf is a token that cannot be sampled.
    """
    logits = logits.astype(np.float64)
    largest = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(largest).all():
        raise BarkError(NOT_NUMBERS)
    if temperature == 0:
        one_hot = np.zeros(logits.shape)
        np.put_along_axis(one_hot, logits.argmax(axis=-1, keepdims=True), 1.0, axis=-1)
        return one_hot
    centred = logits - largest
    if top_p is not None:
        centred = np.where(_in_nucleus(centred, top_p), centred, -np.inf)
    if top_k is not None and top_k < centred.shape[-1]:
        kth = np.partition(centred, -top_k, axis=-1)[..., -top_k, None]
        centred = np.where(centred < kth, -np.inf, centred)
    weights = np.exp(centred / temperature)
    return weights / weights.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def _in_nucleus(centred: NDArray[np.float64], top_p: float) -> NDArray[np.bool_]:
    """The most probable tokens until their mass exceeds `top_p`, the one that crosses it and the first included."""
    order = np.argsort(-centred, axis=-1, kind="stable")
    mass = np.exp(np.take_along_axis(centred, order, axis=-1)).cumsum(axis=-1)
    crossed = mass > top_p * mass[..., -1:]
    keep = np.concatenate([np.ones_like(crossed[..., :1]), ~crossed[..., :-1]], axis=-1)
    inside = np.empty_like(keep)
    np.put_along_axis(inside, order, keep, axis=-1)
    return inside


def sample(probabilities: NDArray[np.float64], uniform: float | NDArray[np.float64]) -> IntArray:
    """Token ids [...] for probabilities [..., V] and uniform numbers in [0, 1), one for each token, by inverse CDF."""
    cumulative = probabilities.cumsum(axis=-1)
    target = np.asarray(uniform)[..., None] * cumulative[..., -1:]
    return np.asarray((cumulative <= target).sum(axis=-1).clip(max=probabilities.shape[-1] - 1))
