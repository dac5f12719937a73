"""Rows of a causal decoder: each has the logits that it has alone, whatever the other rows do.

Logits within 1e-4, greedy tokens equal.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx import Bark
from bark_onnx.graphs.cache import SPANS, KVCache, Recent
from bark_onnx.graphs.decoder import CausalDecoder
from bark_onnx.graphs.memory import Memory
from bark_onnx.graphs.session import Binding
from tiny import SPACE

TOLERANCE = 1e-4
ROWS = 4
CONTEXT = 1024

Ids = NDArray[np.int64]


@pytest.fixture
def decoder(bark: Bark) -> CausalDecoder:
    return bark._networks.coarse


def some_ids(length: int, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(0, SPACE.coarse_semantic_pad, length)


def held(cache: KVCache, row: int) -> NDArray[np.float32]:
    """The keys and values of a row's positions."""
    memory: NDArray[np.float32] = cache.memory.owner
    return memory[:, row, :, : cache.lengths[row]].copy()


def assert_close(logits: object, expected: object) -> None:
    np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("held", "positions", "runs"),
    [(0, 256, [256]), (0, 257, [128, 129]), (0, 887, [221, 222, 222, 222]), (100, 101, [1]), (300, 600, [150, 150])],
)
def test_a_prefill_runs_in_pieces_of_about_equal_lengths(
    decoder: CausalDecoder, monkeypatch: pytest.MonkeyPatch, held: int, positions: int, runs: list[int]
) -> None:
    """A short run at the end would cost as much as a decode step."""
    prompt, found = some_ids(positions), []
    cache = decoder.new_cache()
    if held:
        decoder.prefill(cache, prompt[:held])
    bind = CausalDecoder._bind

    def bind_and_note(
        self: CausalDecoder, cache: KVCache, rows: range, inputs: list[Memory], logits: Memory
    ) -> Binding:
        found.append(inputs[0].shape[1])
        return bind(self, cache, rows, inputs, logits)

    monkeypatch.setattr(CausalDecoder, "_bind", bind_and_note)
    decoder.prefill(cache, prompt)
    assert sorted(found) == runs


class Alone:
    """The same rows, each in a cache of its own."""

    def __init__(self, decoder: CausalDecoder) -> None:
        self.decoder = decoder
        self.caches = [decoder.new_cache() for _ in range(ROWS)]

    def decode(self, tokens: list[int], rows: list[int]) -> list[NDArray[np.float32]]:
        steps = zip(tokens, rows, strict=True)
        return [self.decoder.decode_step(self.caches[row], [token])[0].copy() for token, row in steps]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["prefill", "clear", "decode", "decode", "decode"]), st.integers(1, 2**ROWS - 1)),
    min_size=5,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_any_operations_in_any_order(bark: Bark, operations: list[tuple[str, int]], seed: int) -> None:
    """Prefills, clears and decode steps of any subset of rows."""
    decoder, rng = bark._networks.coarse, np.random.default_rng(seed)
    cache, alone = decoder.new_cache(ROWS), Alone(decoder)
    for kind, subset in [("prefill", 0b1010), *operations]:
        rows = [row for row in range(ROWS) if subset >> row & 1]
        if kind == "clear":
            cache.clear(rows[0])
            alone.caches[rows[0]].clear()
        elif kind == "prefill":
            prompt = some_ids(int(rng.integers(1, 200)), int(rng.integers(3)))  # a row may hold its beginning
            assert_close(decoder.prefill(cache, prompt, row=rows[0]), decoder.prefill(alone.caches[rows[0]], prompt))
        else:
            tokens = rng.integers(0, 230, len(rows)).tolist()
            assert_close(decoder.decode_step(cache, tokens, rows), alone.decode(tokens, rows))
        assert cache.lengths.tolist() == [int(own.lengths[0]) for own in alone.caches]


def test_greedy_tokens_of_ragged_rows(decoder: CausalDecoder) -> None:
    """Prompts of different lengths, a row without a prompt, and rows that stop one after another."""
    first, lengths = SPACE.semantic_size, {0: 5, 1: 300, 3: 129}
    cache, alone = decoder.new_cache(ROWS), Alone(decoder)
    together: dict[int, list[int]] = {}
    by_itself: dict[int, list[int]] = {}
    for row, length in lengths.items():
        prompt = some_ids(length, row)
        together[row] = [first + int(decoder.prefill(cache, prompt, row=row).argmax())]
        by_itself[row] = [first + int(decoder.prefill(alone.caches[row], prompt).argmax())]
    for step in range(60):
        rows = [row for row in lengths if step < 60 - 20 * row]
        for row, own in zip(rows, decoder.decode_step(cache, [together[row][-1] for row in rows], rows), strict=True):
            together[row].append(first + int(own.argmax()))
        for row, own in zip(rows, alone.decode([by_itself[row][-1] for row in rows], rows), strict=True):
            by_itself[row].append(first + int(own.argmax()))
    assert together == by_itself
    assert [len(tokens) for tokens in together.values()] == [61, 41, 1]


def test_prefill_leaves_other_rows_alone(decoder: CausalDecoder) -> None:
    cache = decoder.new_cache(ROWS)
    for row in range(ROWS):
        decoder.prefill(cache, some_ids(50 + row, row), row=row)
    before = [held(cache, row) for row in range(ROWS)]
    decoder.prefill(cache, some_ids(CONTEXT, 9), row=1)
    for row in (0, 2, 3):
        np.testing.assert_array_equal(held(cache, row), before[row])


def test_rows_between_keep_what_they_hold(decoder: CausalDecoder) -> None:
    """Rows 0 and 3 are decoded. Rows 1 and 2 between them are not: one has a prompt, one is empty."""
    cache = decoder.new_cache(ROWS)
    for row in (0, 1, 3):
        decoder.prefill(cache, some_ids(40, row), row=row)
    before = held(cache, 1)
    for token in range(20):
        decoder.decode_step(cache, [token, token], [0, 3])
    assert cache.lengths.tolist() == [60, 40, 0, 60]
    np.testing.assert_array_equal(held(cache, 1), before)
    expected = decoder.new_cache()
    decoder.prefill(expected, some_ids(40, 1))
    assert_close(decoder.decode_step(cache, [7], [1])[0], decoder.decode_step(expected, [7])[0])


@pytest.mark.parametrize("length", [CONTEXT - 1, CONTEXT])
def test_a_row_between_at_the_end_of_the_context(decoder: CausalDecoder, length: int) -> None:
    """A row with room for one position keeps its positions. A full row loses its last one, and its length says so."""
    cache, prompt = decoder.new_cache(3), some_ids(CONTEXT)
    expected = decoder.prefill(decoder.new_cache(), prompt)
    decoder.prefill(cache, prompt[:length], row=1)
    for row in (0, 2):
        decoder.prefill(cache, some_ids(30, row + 1), row=row)
    before = held(cache, 1)[..., : CONTEXT - 1, :]
    for token in range(5):
        decoder.decode_step(cache, [token, token], [0, 2])
    assert cache.lengths.tolist() == [35, CONTEXT - 1, 35]
    np.testing.assert_array_equal(held(cache, 1), before)
    assert_close(decoder.decode_step(cache, [0, int(prompt[-1]), 0], [0, 1, 2])[1], expected)
    assert_close(decoder.prefill(cache, prompt, row=1), expected)


def test_a_row_fills_its_context(decoder: CausalDecoder) -> None:
    """One row decodes its last position beside a short row."""
    cache, prompt = decoder.new_cache(2), some_ids(CONTEXT)
    decoder.prefill(cache, prompt[:-1], row=0)
    decoder.prefill(cache, prompt[:3], row=1)
    logits = decoder.decode_step(cache, [int(prompt[-1]), int(prompt[3])], [0, 1])
    assert_close(logits[0], decoder.prefill(decoder.new_cache(), prompt))
    assert_close(logits[1], decoder.prefill(decoder.new_cache(), prompt[:4]))


def test_logits_are_in_the_order_of_the_rows(decoder: CausalDecoder) -> None:
    """With gaps and without."""
    for rows in ([0, 1, 2, 3], [1, 2], [0, 2], [0, 3], [1, 2, 3], [2]):
        cache = decoder.new_cache(ROWS)
        for row in range(ROWS):
            decoder.prefill(cache, some_ids(30, row), row=row)
        logits = decoder.decode_step(cache, [10 + row for row in rows], rows)
        assert len(logits) == len(rows)
        for row, own in zip(rows, logits, strict=True):
            assert_close(own, decoder.prefill(decoder.new_cache(), np.append(some_ids(30, row), 10 + row)))


def test_clear_forgets_one_row(decoder: CausalDecoder) -> None:
    """With spoilt memory, the cleared row is prefilled again and is right; the other uses its spoilt positions."""
    cache, prompt = decoder.new_cache(2), some_ids(100)
    expected = decoder.prefill(cache, prompt, row=0)
    decoder.prefill(cache, prompt, row=1)
    cache.clear(1)
    assert cache.lengths.tolist() == [100, 0]
    cache.memory.owner[:] = 1
    assert_close(decoder.prefill(cache, prompt, row=1), expected)
    assert np.abs(decoder.prefill(cache, prompt, row=0) - expected).max() > 0.01


def test_history_ids_of_a_row(bark: Bark) -> None:
    """They are added in a prompt and absent in decode steps, whatever the other rows have."""
    decoder, rng = bark._networks.semantic, np.random.default_rng(3)
    cache, ids, history = decoder.new_cache(2), rng.integers(0, 100, (2, 40)), rng.integers(0, 100, (2, 40))
    for row in range(2):
        alone = decoder.prefill(decoder.new_cache(), ids[row], history[row])
        assert_close(decoder.prefill(cache, ids[row], history[row], row), alone)
    logits = decoder.decode_step(cache, [5, 6], [0, 1])
    for row in range(2):
        expected = decoder.new_cache()
        decoder.prefill(expected, ids[row], history[row])
        assert_close(logits[row], decoder.decode_step(expected, [5 + row])[0])


def test_many_spans_of_rows_take_bounded_memory(decoder: CausalDecoder) -> None:
    """Inputs and logits are allocated once for all rows; bindings are kept for the last spans only."""
    others = set(map(id, decoder._steps))  # caches of other tests
    cache, rng = decoder.new_cache(64), np.random.default_rng(5)
    for row in range(64):
        decoder.prefill(cache, some_ids(5, row), row=row)
    decoder.decode_step(cache, [0], [0])
    steps = decoder._steps[cache]
    base = steps.logits
    assert base.nbytes == 64 * decoder.choices * 4
    for _ in range(100):
        first, last = sorted(rng.choice(64, 2, replace=False).tolist())
        logits = decoder.decode_step(cache, list(range(first, last + 1)), list(range(first, last + 1)))
        assert np.shares_memory(logits, base)
    assert decoder._steps[cache] is steps
    assert steps.logits is base
    assert len(steps.bindings._values) == SPANS
    del cache
    assert set(map(id, decoder._steps)) <= others


def test_the_spans_used_last_are_kept() -> None:
    made: list[range] = []

    def value(span: range) -> int:
        made.append(span)
        return len(span)

    recent: Recent[int] = Recent(2)
    for rows in (1, 2, 1, 3, 1, 2):
        assert recent.get(range(rows), value) == rows
    assert [len(span) for span in made] == [1, 2, 3, 2]
    assert len(recent._values) == 2
