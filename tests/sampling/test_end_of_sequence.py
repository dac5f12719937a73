"""Where an utterance ends, with chosen logits: the end token, its least probability, and the limit in seconds.

Where transformers differs from suno-ai/bark, Suno's rule holds, and the test says so.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bark_onnx import GenerationOptions, Vocabulary
from bark_onnx.graphs.decoder import CausalDecoder
from bark_onnx.sampling.host import HostLoop
from bark_onnx.stages.semantic import SemanticSequence, semantic_tokens, token_limit
from tiny import SPACE

PUBLISHED = Vocabulary()
END = SPACE.semantic_size


class Scripted(CausalDecoder):
    """A semantic model with these logits at every step."""

    size: Any = SimpleNamespace(no_history_id=-1)

    def __init__(self, logits: dict[int, float]) -> None:
        self._logits = np.full(END + 1, -1e9, np.float32)
        self._logits[list(logits)] = list(logits.values())

    def prefill(self, *_: object) -> NDArray[np.float32]:
        return self._logits

    def decode_step(self, *_: object) -> NDArray[np.float32]:
        return self._logits[None]


def spoken(logits: dict[int, float], *, uniform: float = 0.0, limit: int = 3, **options: Any) -> list[int]:
    """The tokens of at most `limit`, sampled with always the same uniform number: 0 is the smallest possible id."""
    decoder = Scripted(logits)
    cache: Any = SimpleNamespace(clear=lambda: None)
    stream: Any = SimpleNamespace(random=lambda: uniform)
    chosen = GenerationOptions(**{"text_temperature": 1.0, "max_seconds": (limit - 0.5) / 49.9} | options)
    ids = np.zeros(256, np.int64)
    sequence = SemanticSequence(ids, None, chosen, SPACE, decoder.size.no_history_id, stream)
    return list(semantic_tokens(HostLoop(decoder), cache, sequence))


def log(**probabilities: float) -> dict[int, float]:
    """Logits by token id: t3=0.5, end=0.5."""
    ids = {name: END if name == "end" else int(name[1:]) for name in probabilities}
    return {ids[name]: float(np.log(p)) for name, p in probabilities.items()}


def test_a_sampled_end_token_ends_and_is_left_out() -> None:
    assert spoken(log(t3=0.9, end=0.1), uniform=0.95, min_eos_p=None) == []
    assert spoken(log(t3=0.9, end=0.1), uniform=0.85, min_eos_p=None) == [3, 3, 3]


def test_min_eos_p_ends_at_the_threshold_and_not_only_above_unlike_in_transformers() -> None:
    """Suno compares with >=, transformers with >."""
    five_alike = dict.fromkeys([1, 2, 3, 4, END], 0.0)  # 0.2 each, exactly
    assert spoken(five_alike, min_eos_p=0.2) == []
    assert spoken(five_alike, min_eos_p=0.1999) == []
    assert spoken(five_alike, min_eos_p=0.2001) == [1, 1, 1]
    assert spoken(five_alike, min_eos_p=None) == [1, 1, 1]


def test_min_eos_p_is_taken_after_temperature_unlike_in_transformers() -> None:
    """transformers takes it on the plain logits."""
    probable = log(t1=0.6, t2=0.1, end=0.3)  # plain 0.3; squared 0.09 / 0.46 = 0.196
    assert spoken(probable, min_eos_p=0.2) == []
    assert spoken(probable, min_eos_p=0.2, text_temperature=0.5) == [1, 1, 1]
    improbable = log(t1=0.8, t2=0.05, end=0.15)  # plain 0.15; with the square root 0.387 / 1.505 = 0.257
    assert spoken(improbable, min_eos_p=0.2) == [1, 1, 1]
    assert spoken(improbable, min_eos_p=0.2, text_temperature=2.0) == []


def test_min_eos_p_is_taken_after_top_k_unlike_in_transformers() -> None:
    """top-k can take the end token away, and can make it more probable than the threshold."""
    third = log(t1=0.4, t2=0.35, end=0.25)
    assert spoken(third, min_eos_p=0.2) == []
    assert spoken(third, min_eos_p=0.2, top_k=2) == [1, 1, 1]
    second = log(t1=0.5, t2=0.16, t3=0.16, end=0.18)  # 0.18 / 0.68 = 0.265 of two
    assert spoken(second, min_eos_p=0.2) == [1, 1, 1]
    assert spoken(second, min_eos_p=0.2, top_k=2) == []


def test_min_eos_p_is_taken_after_top_p_unlike_in_transformers() -> None:
    """The same for top-p, which keeps the token that crosses it."""
    third = log(t1=0.4, t2=0.35, end=0.25)
    assert spoken(third, min_eos_p=0.2, top_p=0.8) == []
    assert spoken(third, min_eos_p=0.2, top_p=0.7) == [1, 1, 1]
    second = log(t1=0.5, t2=0.16, t3=0.16, end=0.18)
    assert spoken(second, min_eos_p=0.2, top_p=0.6) == []
    assert spoken(second, min_eos_p=0.2, top_p=0.45) == [1, 1, 1]


def test_at_temperature_0_only_the_best_token_counts() -> None:
    assert spoken(log(t1=0.51, end=0.49), min_eos_p=0.2, text_temperature=0.0) == [1, 1, 1]
    assert spoken(log(t1=0.49, end=0.51), min_eos_p=None, text_temperature=0.0) == []


def test_without_early_stop_the_end_token_is_no_choice() -> None:
    """It is neither sampled, nor compared with min_eos_p, nor one of the k best."""
    best_is_end = log(t1=0.04, t2=0.03, end=0.93)
    for options in ({}, {"text_temperature": 0.0}, {"top_k": 1}, {"top_p": 0.5}):
        assert spoken(best_is_end, allow_early_stop=False, **options) == [1, 1, 1]
    assert spoken(best_is_end, uniform=0.99, allow_early_stop=False) == [2, 2, 2]
    assert len(spoken(best_is_end, allow_early_stop=False, max_seconds=None)) == 768


def suno_length(max_seconds: float) -> int:
    """Suno's rule as it stands: a token's time is added, then compared."""
    elapsed, count = 0.0, 0
    while count < 768:
        count += 1
        elapsed += 1 / 49.9
        if elapsed > max_seconds:
            break
    return count


def test_max_seconds_keeps_the_token_that_crosses_the_limit() -> None:
    """Also where a limit is a whole number of tokens, and rounding decides."""
    whole = [count / 49.9 for count in range(1, 800)]
    limits = [*whole, *np.nextafter(whole, 0), *np.nextafter(whole, 99), *np.linspace(1e-9, 17, 500)]
    assert [token_limit(limit, PUBLISHED) for limit in limits] == [suno_length(limit) for limit in limits]
    assert token_limit(None, PUBLISHED) == 768
    for limit in (1e-6, 0.02, 0.0201, 0.5, 2.0):
        assert len(spoken(log(t1=1.0), max_seconds=limit)) == suno_length(limit)
