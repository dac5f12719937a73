"""The graphs that sample: for any logits and any rule, they choose the token that the host chooses."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx.sampling.distribution import draw
from bark_onnx.sampling.sequence import Rule
from bark_onnx_export.graphs.networks import fine_sampler_graph, sampler_graph
from full import FULL
from rounding import near_a_border

CHOICES, FIRST_ID = 24, 100
ROWS = 3


class One(NamedTuple):
    """The rule of one token, and the number to sample it with."""

    rule: Rule
    uniform: float


@cache
def sampler(*, top_k_top_p: bool) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(sampler_graph(CHOICES, FIRST_ID, top_k_top_p=top_k_top_p))


def sampled(logits: list[NDArray[np.float32]], tokens: list[One], *, top_k_top_p: bool) -> list[int]:
    """The choices of the graph."""
    rules = [token.rule for token in tokens]
    columns: dict[str, list[Any]] = {
        "uniforms": [token.uniform for token in tokens],
        "firsts": [rule.first for rule in rules],
        "widths": [rule.choices for rule in rules],
        "temperatures": [float(rule.temperature) for rule in rules],
        "ends": [-1 if rule.end is None else rule.end for rule in rules],
        "min_eos_ps": [np.inf if rule.min_eos_p is None else rule.min_eos_p for rule in rules],
    }
    if top_k_top_p:
        columns["top_ks"] = [CHOICES if rule.top_k is None else min(rule.top_k, CHOICES) for rule in rules]
        columns["top_ps"] = [np.inf if rule.top_p is None else rule.top_p for rule in rules]
    inputs = {"logits": np.stack(logits)} | {name: np.array(column) for name, column in columns.items()}
    (ids,) = sampler(top_k_top_p=top_k_top_p).run(None, inputs)
    assert ids.shape == (len(tokens), 1)
    return [int(n) - FIRST_ID for n in ids[:, 0]]


LOGITS = st.one_of(
    st.lists(st.integers(-4, 4).map(float), min_size=CHOICES, max_size=CHOICES),  # many are equal
    st.lists(st.one_of(st.just(-np.inf), st.floats(-30, 30, width=32)), min_size=CHOICES, max_size=CHOICES),
).map(lambda values: np.array(values, np.float32))


@st.composite
def a_rule(draw: Any, *, top_k_top_p: bool) -> Rule:
    codebooks = draw(st.integers(1, 2))
    choices = draw(st.integers(1, CHOICES // codebooks))
    some = st.integers(1, 2 * CHOICES)
    end = draw(st.none() | st.integers(0, choices - 1)) if codebooks == 1 else None
    return Rule(
        choices,
        codebooks,
        draw(st.integers(0, codebooks - 1)),
        draw(st.sampled_from([0.0, 0.01, 0.7, 1.0, 3.0])),
        draw(st.none() | some) if top_k_top_p else None,
        draw(st.none() | st.floats(0.01, 1)) if top_k_top_p else None,
        end,
        None if end is None else draw(st.none() | st.floats(0.001, 1)),
    )


@given(st.data(), st.booleans())
@settings(max_examples=300 if FULL else 150, deadline=None)
def test_the_graphs_sample_what_the_host_does(data: st.DataObject, top_k_top_p: bool) -> None:
    tokens, logits = [], []
    for _ in range(data.draw(st.integers(1, ROWS))):
        token = One(data.draw(a_rule(top_k_top_p=top_k_top_p)), data.draw(st.floats(0, 1, exclude_max=True)))
        own, rule = data.draw(LOGITS), token.rule
        allowed = own[rule.first :][: rule.choices].astype(np.float64)
        assume(allowed.max() > -np.inf)
        assume(rule.top_p is None or not near_a_border(allowed, rule.top_p))
        tokens.append(token)
        logits.append(own)
    found = sampled(logits, tokens, top_k_top_p=top_k_top_p)
    for token, own, choice in zip(tokens, logits, found, strict=True):
        if choice != draw(own, token.rule, token.uniform):  # right only if rounding decides
            assert _is_borderline(own, token, choice)


def _is_borderline(logits: NDArray[np.float32], token: One, choice: int) -> bool:
    """Whether a change of the number, or of the end's probability, in the last digits leads to this choice."""
    rule = token.rule
    for uniform in (token.uniform - 1e-12, token.uniform + 1e-12):
        for scale in (1 - 1e-12, 1 + 1e-12):
            least = None if rule.min_eos_p is None else rule.min_eos_p * scale
            other = min(max(uniform, 0.0), np.nextafter(1.0, 0.0))
            if draw(logits, rule._replace(min_eos_p=least), other) == choice:
                return True
    return False


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
@pytest.mark.parametrize("top_k_top_p", [False, True])
def test_bad_logits_of_one_row_are_reported_and_do_not_affect_others(spoilt: float, top_k_top_p: bool) -> None:
    logits = [np.arange(CHOICES, dtype=np.float32) for _ in range(3)]
    logits[1][5] = spoilt
    rule = Rule(CHOICES, 1, 0, 0.0, None, None)
    assert sampled(logits, [One(rule, 0.5)] * 3, top_k_top_p=top_k_top_p) == [CHOICES - 1, -1 - FIRST_ID, CHOICES - 1]
    # Logits outside the choices do not matter.
    assert sampled(logits, [One(rule._replace(choices=5), 0.5)] * 3, top_k_top_p=top_k_top_p) == [4, 4, 4]


def test_all_operators_are_standard() -> None:
    import onnx

    for graph in (sampler_graph(CHOICES, FIRST_ID, top_k_top_p=True), fine_sampler_graph(8, 1024)):
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
        assert not {"If", "Loop", "Scan"} & {node.op_type for node in model.graph.node}  # not for CUDA graphs
