"""Sampling as graphs: whatever the logits and the rule, they take what the host takes."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx.sampling.sampling import Rule, draw
from bark_onnx_export.graph import fine_sampler_graph, sampler_graph
from borders import near_a_border

CHOICES, FIRST_ID = 24, 100
ROWS = 3


@dataclass
class One:
    """A sequence of one token, sampled with a given number."""

    rule: Rule
    uniform: float
    taken: list[int] = field(default_factory=list)
    left = 1
    last = 0

    @property
    def stream(self) -> Any:
        return type("Stream", (), {"random": lambda _: self.uniform})()

    def take(self, choice: int) -> None:
        self.taken.append(choice)


@cache
def sampler(*, ranked: bool) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(sampler_graph(CHOICES, FIRST_ID, ranked=ranked))


def sampled(logits: list[NDArray[np.float32]], sequences: list[One], *, ranked: bool) -> list[int]:
    """The choices of the graph."""
    rules = [sequence.rule for sequence in sequences]
    columns: dict[str, list[Any]] = {
        "uniforms": [sequence.uniform for sequence in sequences],
        "firsts": [rule.turn * rule.width for rule in rules],
        "widths": [rule.width for rule in rules],
        "temperatures": [float(rule.temperature) for rule in rules],
        "ends": [-1 if rule.end is None else rule.end for rule in rules],
        "min_eos_ps": [np.inf if rule.min_eos_p is None else rule.min_eos_p for rule in rules],
    }
    if ranked:
        columns["top_ks"] = [CHOICES if rule.top_k is None else min(rule.top_k, CHOICES) for rule in rules]
        columns["top_ps"] = [np.inf if rule.top_p is None else rule.top_p for rule in rules]
    inputs = {"logits": np.stack(logits)} | {name: np.array(column) for name, column in columns.items()}
    (ids,) = sampler(ranked=ranked).run(None, inputs)
    assert ids.shape == (len(sequences), 1)
    return [int(n) - FIRST_ID for n in ids[:, 0]]


LOGITS = st.one_of(
    st.lists(st.integers(-4, 4).map(float), min_size=CHOICES, max_size=CHOICES),  # many tie
    st.lists(st.one_of(st.just(-np.inf), st.floats(-30, 30, width=32)), min_size=CHOICES, max_size=CHOICES),
).map(lambda values: np.array(values, np.float32))


@st.composite
def a_rule(draw: Any, *, ranked: bool) -> Rule:
    sets = draw(st.integers(1, 2))
    width = draw(st.integers(1, CHOICES // sets))
    some = st.integers(1, 2 * CHOICES)
    end = draw(st.none() | st.integers(0, width - 1)) if sets == 1 else None
    return Rule(
        width,
        sets,
        draw(st.integers(0, sets - 1)),
        draw(st.sampled_from([0.0, 0.01, 0.7, 1.0, 3.0])),
        draw(st.none() | some) if ranked else None,
        draw(st.none() | st.floats(0.01, 1)) if ranked else None,
        end,
        None if end is None else draw(st.none() | st.floats(0.001, 1)),
    )


@given(st.data(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_graphs_sample_what_the_host_does(data: st.DataObject, ranked: bool) -> None:
    sequences, logits = [], []
    for _ in range(data.draw(st.integers(1, ROWS))):
        sequence = One(data.draw(a_rule(ranked=ranked)), data.draw(st.floats(0, 1, exclude_max=True)))
        own, rule = data.draw(LOGITS), sequence.rule
        allowed = own[rule.turn * rule.width :][: rule.width].astype(np.float64)
        assume(allowed.max() > -np.inf)
        assume(rule.top_p is None or not near_a_border(allowed, rule.top_p))
        sequences.append(sequence)
        logits.append(own)
    for sequence, own in zip(sequences, logits, strict=True):
        draw(own, sequence)
    found = sampled(logits, sequences, ranked=ranked)
    for sequence, choice in zip(sequences, found, strict=True):
        if [choice] != sequence.taken:  # where rounding decides, either will do
            assert _is_borderline(logits[sequences.index(sequence)], sequence, choice)


def _is_borderline(logits: NDArray[np.float32], sequence: One, choice: int) -> bool:
    """Whether a last digit more or less of the number drawn, or of the end's probability, makes this choice."""
    rule = sequence.rule
    for uniform in (sequence.uniform - 1e-12, sequence.uniform + 1e-12):
        for scale in (1 - 1e-12, 1 + 1e-12):
            least = None if rule.min_eos_p is None else rule.min_eos_p * scale
            other = One(rule._replace(min_eos_p=least), min(max(uniform, 0.0), np.nextafter(1.0, 0.0)))
            draw(logits, other)
            if other.taken == [choice]:
                return True
    return False


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
@pytest.mark.parametrize("ranked", [False, True])
def test_logits_that_are_not_numbers_are_told_and_concern_nobody_else(spoilt: float, ranked: bool) -> None:
    logits = [np.arange(CHOICES, dtype=np.float32) for _ in range(3)]
    logits[1][5] = spoilt
    rule = Rule(CHOICES, 1, 0, 0.0, None, None)
    assert sampled(logits, [One(rule, 0.5)] * 3, ranked=ranked) == [CHOICES - 1, -1 - FIRST_ID, CHOICES - 1]
    # What cannot be sampled does not matter.
    assert sampled(logits, [One(rule._replace(width=5), 0.5)] * 3, ranked=ranked) == [4, 4, 4]


def test_no_operator_is_from_outside_the_standard() -> None:
    import onnx

    for graph in (sampler_graph(CHOICES, 0, ranked=True), fine_sampler_graph(8, 1024)):
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
        assert not {"If", "Loop", "Scan"} & {node.op_type for node in model.graph.node}  # none can be recorded
