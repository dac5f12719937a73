"""Logits to tokens: pure functions that are given their random numbers.

A seed fixes the tokens: every stage has a random stream of its own, every sampled token takes one uniform number from
it, and the inverse of the cumulative distribution turns that number into a token. So the tokens of a seed do not depend
on batching, streaming or the device.
"""

import secrets
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray
from ..errors import BarkError
from ..numbers import check_seed
from .sequence import NOT_NUMBERS, Rule

_STREAMS = {"semantic": 0, "coarse": 1, "fine": 2}


def draw(logits: FloatArray, rule: Rule, uniform: float) -> int:
    """Sample the next token of a sequence.

    Args:
        logits: [V].
        uniform: in [0, 1).

    Returns:
        An index of the logits. Raises BarkError if the logits are not numbers.
    """
    own = logits[rule.first : rule.first + rule.choices]
    p = probabilities(own, rule.temperature, rule.top_k, rule.top_p)
    choice = int(sample(p, uniform))
    if rule.end is not None and rule.min_eos_p is not None and p[rule.end] >= rule.min_eos_p:
        choice = rule.end
    return rule.first + choice


def draw_seed() -> int:
    """A random seed of 32 bits, short enough to be read and typed."""
    return secrets.randbits(32)


def random_stream(seed: int, stage: Literal["semantic", "coarse", "fine"]) -> np.random.Generator:
    """A stage's stream of uniform numbers. The streams of one seed are independent of each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(check_seed(seed), spawn_key=(_STREAMS[stage],))))


def probabilities(
    logits: FloatArray, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> NDArray[np.float64]:
    """Sampling probabilities [..., V] of logits [..., V]. At temperature 0 the largest logit has probability 1.

    The order is the reference's (`generate_text_semantic`): top-p on the plain logits, then top-k, then temperature.

    A token with logit -inf cannot be sampled. Raises BarkError if the largest logit is not a finite number.
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
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _in_nucleus(centred: NDArray[np.float64], top_p: float) -> NDArray[np.bool_]:
    """Select the most probable tokens up to and including the one with which their mass exceeds `top_p`."""
    order = np.argsort(-centred, axis=-1, kind="stable")
    mass = np.exp(np.take_along_axis(centred, order, axis=-1)).cumsum(axis=-1)
    crossed = mass > top_p * mass[..., -1:]
    keep = np.concatenate([np.ones_like(crossed[..., :1]), ~crossed[..., :-1]], axis=-1)
    inside = np.empty_like(keep)
    np.put_along_axis(inside, order, keep, axis=-1)
    return inside


def sample(probabilities: NDArray[np.float64], uniform: float | NDArray[np.float64]) -> IntArray:
    """Sample tokens [...] from probabilities [..., V] by inverse CDF, with one uniform number in [0, 1) for each."""
    cumulative = probabilities.cumsum(axis=-1)
    target = np.asarray(uniform)[..., None] * cumulative[..., -1:]
    return np.asarray((cumulative <= target).sum(axis=-1).clip(max=probabilities.shape[-1] - 1))
