"""Numbers from callers: what has one meaning becomes a plain int, float or bool, and the rest is one clear error."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx import BarkError, GenerationOptions, Guards, NarrationOptions, StreamOptions
from bark_onnx.numbers import check_seed, flag, plain_numbers, real, whole
from bark_onnx.sampling.distribution import probabilities
from bark_onnx.stages.options import LEAST_TEMPERATURE

THREES = [3, 3.0, np.int8(3), np.uint64(3), np.float16(3), np.float64(3), np.array(3), np.array(3.0), Decimal(3)]
NO_NUMBERS = [
    None, "3", b"3", True, np.True_, 3j, np.complex64(3), [3], (3,), {3: 3}, np.array([3]), np.array("3"),
    np.array(True), np.datetime64("2020"), np.array(None), object, Decimal("sNaN"),
]  # fmt: skip
NOT_WHOLE = [2.5, np.float32(2.5), Fraction(5, 2), float("nan"), float("inf"), np.float64("-inf")]


@pytest.mark.parametrize("value", [*THREES, Fraction(3)], ids=repr)
def test_a_number_becomes_a_plain_one(value: object) -> None:
    assert (whole("n", value), type(whole("n", value))) == (3, int)
    assert (real("x", value), type(real("x", value))) == (3.0, float)


def test_numbers_are_exact() -> None:
    assert whole("n", np.uint64(2**64 - 1)) == 2**64 - 1
    assert whole("n", 1e19) == 10**19
    assert real("x", np.float32(0.7)) == float(np.float32(0.7))
    assert real("x", Decimal("0.7")) == 0.7
    assert np.isnan(real("x", np.float32("nan")))


@pytest.mark.parametrize("convert", [whole, real])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_not_a_number_is_refused(convert: Callable[[str, object], object], value: object) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(BarkError, match=r"^top_k must be a .*number, not"):
        convert("top_k", value)


@pytest.mark.parametrize("value", NOT_WHOLE, ids=repr)
def test_a_fraction_is_not_a_whole_number(value: object) -> None:
    with pytest.raises(BarkError, match="top_k must be a whole number, not"):
        whole("top_k", value)


def test_only_bools_are_flags() -> None:
    assert flag("exact", True) is flag("exact", np.True_) is flag("exact", np.array(True)) is True
    assert flag("exact", np.False_) is False
    for value in (1, 0.0, "yes", None, np.array([True])):
        with pytest.raises(BarkError, match="exact must be True or False"):
            flag("exact", value)


@pytest.mark.parametrize("seed", [0, 7.0, np.int64(7), np.uint64(2**64 - 1)], ids=repr)
def test_seeds(seed: object) -> None:
    assert type(check_seed(seed)) is int


@pytest.mark.parametrize("seed", [-1, 2**64, 2.0**64, 0.5, "7", None, True, [7], 10**5000, -(10**5000)], ids=type)
def test_what_is_not_a_seed_is_one_line(seed: object) -> None:
    with pytest.raises(BarkError, match="a seed must be a whole number"):
        check_seed(seed)


@given(st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.lists(st.integers()), st.complex_numbers()))
def test_any_value_is_a_number_or_an_error(value: object) -> None:
    for convert, kind in ((whole, int), (real, float), (flag, bool)):
        try:
            converted = convert("value", value)
        except BarkError as error:
            converted = error
        assert type(converted) is kind or str(converted).startswith("value must be ")


# Options

OPTIONS: list[tuple[type[Any], dict[str, Any]]] = [
    (GenerationOptions, {
        "text_temperature": np.float32(0.5), "coarse_temperature": 1, "fine_temperature": np.int64(0),
        "top_k": np.int32(50), "top_p": np.float64(0.9), "min_eos_p": Decimal("0.25"), "max_seconds": np.float16(2),
        "max_coarse_history": 600.0, "sliding_window": np.uint8(60), "max_fine_history": np.array(512),
        "fine_padding": np.False_, "allow_early_stop": np.True_,
    }),
    (StreamOptions, {
        "first_seconds": np.float32(0.5), "growth": 2, "chunk_seconds": np.int64(1), "fine_context": 64.0,
        "exact": np.True_, "playback_speed": 2,
    }),
    (Guards, {
        "retries": np.int64(3), "longest": np.float32(3), "slack_seconds": 1, "shortest": np.float64(0.5),
        "silent_dbfs": np.int8(-40), "clipped_share": Fraction(1, 2), "tail_silence": 2, "tail_after": np.float32(0.5),
        "false_alarms": np.float64(0.05),
    }),
    (NarrationOptions, {
        "passage_seconds": np.int64(9), "sentence_pause": np.float32(0.5), "clause_pause": 0, "speaker_pause": 1,
        "paragraph_pause": Decimal(1), "guards": Guards(retries=np.int64(0)), "block": 2.0,
        "lookahead": np.int64(3), "flush_seconds": Decimal("0.5"), "first_clause": False,
    }),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given"), OPTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_options_keep_plain_numbers(kind: type[Any], given: dict[str, Any]) -> None:
    assert set(given) == {field.name for field in fields(kind)}
    options = kind(**given)
    json.dumps(asdict(options))
    for field in fields(kind):
        value = getattr(options, field.name)
        assert value == given[field.name]
        assert type(value) in (int, float, bool, Guards)
        assert type(value) is type(getattr(kind(), field.name)) or getattr(kind(), field.name) is None
    assert hash(options) == hash(kind(**given))


@pytest.mark.parametrize("kind", [kind for kind, _ in OPTIONS])
def test_options_of_the_wrong_type_are_one_error(kind: type[Any]) -> None:
    names = [field.name for field in fields(kind) if field.name != "guards"]
    with pytest.raises(BarkError) as caught:
        kind(**dict.fromkeys(names, "1"))
    assert [name for name in names if f"{name} must be " not in str(caught.value)] == []


def test_fields_of_other_types_are_left_alone() -> None:
    @dataclass(frozen=True)
    class Example:
        name: str
        count: int | None = None

        def __post_init__(self) -> None:
            plain_numbers(self)

    assert Example("1", np.int64(1)) == Example("1", 1)
    assert Example("1").count is None


# Temperatures next to 0


@pytest.mark.parametrize("temperature", [1e-320, 5e-324, 1e-100, 0.99e-6, np.float64(1e-308)])
def test_a_temperature_next_to_0_is_argmax(temperature: float) -> None:
    names = ("text_temperature", "coarse_temperature", "fine_temperature")
    assert GenerationOptions(**dict.fromkeys(names, temperature)) == GenerationOptions(**dict.fromkeys(names, 0.0))


@pytest.mark.parametrize("temperature", [1e-320, LEAST_TEMPERATURE, 1e-3, 100])
@pytest.mark.parametrize("spread", [1.0, 1e5, 1e38])
def test_no_temperature_overflows(temperature: float, spread: float) -> None:
    """Logits of any size that fp32 has, with some that cannot be sampled, at every temperature that options allow."""
    logits = (np.random.default_rng(0).uniform(-3, 3, (4, 50)) * spread).astype(np.float32)
    logits[:, ::7] = -np.inf
    own = GenerationOptions(text_temperature=temperature).text_temperature
    with np.errstate(over="raise", divide="raise", invalid="raise"), warnings.catch_warnings(action="error"):
        for top_k, top_p in ((None, None), (5, 0.9)):
            p = probabilities(logits, own, top_k, top_p)
            np.testing.assert_allclose(p.sum(axis=-1), 1)
