"""Batch invariance of nano (int8) and of the tiny bundle (fp32); tests/export has it for the other precisions.

Logits are equal bit for bit, tokens are equal.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import invariance
from bark_onnx import Bark
from bark_onnx.engine.speech import Speech
from tiny import TINY

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["prefill", "clear", "decode", "decode", "decode"]), st.integers(1, 255)),
    min_size=5,
    max_size=25,
)


@pytest.fixture(scope="module", params=["nano", "tiny"])
def model(request: pytest.FixtureRequest) -> Bark:
    return Bark.load(None if request.param == "nano" else TINY, device="cpu", threads=1)


@pytest.fixture(scope="module")
def alone(model: Bark) -> list[Speech]:
    return invariance.alone(model)


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_a_row_has_the_same_logits_beside_any_others(
    model: Bark, stage: str, operations: list[tuple[str, int]], seed: int
) -> None:
    decoder = getattr(model._networks, stage)
    invariance.assert_rows_do_not_depend_on_each_other(decoder, [("prefill", 0b10100), *operations], seed)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    slots=st.integers(1, 8),
    order=st.permutations(range(len(invariance.TEXTS))),
    cancelled=st.none() | st.integers(0, len(invariance.TEXTS) - 1),
)
def test_a_request_has_the_same_tokens_beside_any_others(
    model: Bark, alone: list[Speech], slots: int, order: list[int], cancelled: int | None
) -> None:
    invariance.assert_tokens_do_not_depend_on_company(model, alone, slots, order, cancelled)


def test_low_memory_and_a_batch_give_the_same_tokens(model: Bark, alone: list[Speech]) -> None:
    small = Bark.load(model.bundle.directory, device="cpu", threads=1, low_memory=True)
    invariance.assert_tokens_do_not_depend_on_company(small, alone, 3, [4, 0, 2], None)


def test_a_prefix_of_another_utterance_changes_nothing(model: Bark, alone: list[Speech]) -> None:
    """The same request twice in one engine, one after the other in the same row."""
    engine, (first, *_) = model.engine(slots=1), invariance.requests(model)
    for job in (engine.submit(first), engine.submit(first)):
        engine.work([job])
        assert job.speech is not None
        assert job.speech.tokens.fine.tolist() == alone[0].tokens.fine.tolist()
