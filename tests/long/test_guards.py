"""The guards: each rule finds the failure that it is for, accepts other speech, and says what it measured."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.long.guards import Guards, Problem, problems
from synthetic_speech import RATE, silence, speech


def found(waveform: Waveform, expected: float, tokens: int = 300, guards: Guards | None = None) -> dict[str, str]:
    """The details of the problems by name."""
    listed = problems(
        waveform, RATE, semantic_tokens=tokens, token_limit=768, expected_seconds=expected, guards=guards or Guards()
    )
    assert len({problem.name for problem in listed}) == len(listed)
    return {problem.name: problem.detail for problem in listed}


def with_tail(said: float, gap: float, tail: float, seed: int = 0) -> Waveform:
    return np.concatenate([speech(said, seed), silence(gap), speech(tail, seed + 1, -23)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dbfs", [-35, -20, -13])
def test_good_speech_has_no_problems(seed: int, dbfs: float) -> None:
    waveform = np.concatenate([silence(0.3), speech(5, seed, dbfs, pauses=(0.4, 0.7)), silence(0.6)])
    assert found(waveform, 6.0) == {}


def test_speech_that_reaches_the_token_limit_is_a_runaway() -> None:
    assert found(speech(5), 5.0, tokens=768) == {"runaway": "no end within 768 semantic tokens"}
    assert found(speech(5), 5.0, tokens=767) == {}
    assert list(found(speech(9), 2.0, tokens=768)) == ["runaway"]  # reported once


def test_much_longer_than_expected_is_a_runaway() -> None:
    assert found(speech(9), 2.0) == {"runaway": "9.0 s of speech where 8.0 s are enough"}


@pytest.mark.parametrize(
    ("waveform", "expected"),
    [
        pytest.param(speech(4.5), 2.0, id="slow"),
        pytest.param(speech(3.5), 0.5, id="a word and a laugh"),
        pytest.param(np.concatenate([speech(2), silence(10)]), 2.0, id="silence, which is trimmed"),
        pytest.param(speech(14), 0.0, id="music, without an expected length"),
    ],
)
def test_slow_speech_is_not_a_runaway(waveform: Waveform, expected: float) -> None:
    assert found(waveform, expected) == {}


def test_a_silent_passage_is_silent() -> None:
    assert found(silence(5), 5.0) == {"silent": "0.00 s of sound at -inf dBFS"}
    assert list(found(np.zeros(5 * RATE, np.float32), 5.0)) == ["silent"]
    assert list(found(np.full(5 * RATE, np.nan, np.float32), 5.0)) == ["silent"]
    assert list(found(np.empty(0, np.float32), 5.0)) == ["silent"]


def test_a_click_is_silent() -> None:
    waveform = silence(5)
    waveform[RATE : RATE + 200] = 0.9  # a loud click
    assert list(found(waveform, 5.0)) == ["silent"]


def test_speech_that_is_too_quiet_is_silent() -> None:
    assert list(found(speech(5, dbfs=-54), 5.0)) == ["silent"]
    assert found(speech(5, dbfs=-45), 5.0) == {}


def test_a_passage_can_be_a_runaway_and_silent() -> None:
    assert set(found(silence(15), 5.0, tokens=768)) == {"runaway", "silent"}


def test_short_words_are_not_silent() -> None:
    assert found(speech(0.25), 0.5) == {}


def test_distortion_is_clipped() -> None:
    waveform = speech(5, dbfs=3)
    assert list(found(waveform, 5.0)) == ["clipped"]
    assert list(found(waveform.clip(-1, 1), 5.0)) == ["clipped"]


def test_the_share_of_clipped_samples_leaves_out_pauses() -> None:
    waveform = np.concatenate([speech(2, dbfs=-2), silence(9)])
    share = np.mean(np.abs(waveform) >= 0.999)
    assert list(found(waveform, 2.0, guards=Guards(clipped_share=float(share) * 2))) == ["clipped"]


def test_a_few_samples_at_full_scale_are_not_clipped() -> None:
    waveform = speech(5, dbfs=-14)
    waveform[::1000] = 1.0
    assert found(waveform, 5.0) == {}


def test_speech_with_missing_words_is_short() -> None:
    assert found(speech(2), 6.0) == {"short": "2.0 s of speech where about 6.0 s are expected"}


def test_a_pause_does_not_count_as_speech() -> None:
    assert "short" in found(speech(2, pauses=(5.0,)), 6.0)


@pytest.mark.parametrize("expected", [0.0, 2.0, 3.0, 4.5])
def test_fast_speech_is_not_short(expected: float) -> None:
    assert found(speech(2), expected) == {}


def test_speech_after_a_silence_at_the_expected_end_is_a_tail() -> None:
    assert found(with_tail(4, 1.2, 2), 4.5) == {"tail": "speech again at 5.2 s, after 1.2 s of silence"}


@pytest.mark.parametrize(
    "waveform",
    [
        pytest.param(with_tail(4, 0.6, 2), id="a pause between sentences"),
        pytest.param(with_tail(2, 1.5, 3), id="a long pause after half of the text"),
        pytest.param(speech(3, pauses=(1.5, 1.5, 1.5)), id="a slow speaker's pauses"),
        pytest.param(np.concatenate([speech(4), silence(3)]), id="silence at the end"),
        pytest.param(np.concatenate([speech(4), silence(3), speech(0.05)]), id="a click after the end"),
    ],
)
def test_other_pauses_are_not_followed_by_a_tail(waveform: Waveform) -> None:
    assert found(waveform, 4.5) == {}


def test_the_rules_are_seldom_wrong() -> None:
    """Speech at 0.6 to 1.6 times the expected speed with pauses of 0.2 to 1.2 s. Half of it has an invented tail."""
    stream = np.random.default_rng(5)
    alarms = {False: 0, True: 0}
    tails = 0
    for seed in range(100):
        expected, tail = stream.uniform(2, 13), seed % 2 == 1
        pauses = tuple(stream.uniform(0.2, 1.2, int(expected // 4)))
        waveform = speech(0.9 * expected * np.clip(stream.lognormal(0, 0.25), 0.6, 1.6), seed, pauses=pauses)
        if tail:
            gap = silence(stream.uniform(1, 2.5))
            waveform = np.concatenate([waveform, gap, speech(stream.uniform(0.5, 4), seed + 1)])
        names = found(waveform, expected)
        tails += tail and "tail" in names
        alarms[tail] += bool(names)
    assert alarms[False] <= 2  # of 50
    assert tails >= 28  # of 50: a slow speaker's tail begins before the text could be over


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float32, st.integers(0, 2_000), elements=st.floats(width=32)),
    st.floats(0, 20),
    st.sampled_from([8_000, 24_000, 44_100]),
)
def test_any_samples_can_be_judged(waveform: Waveform, expected: float, rate: int) -> None:
    options = {"semantic_tokens": 1, "token_limit": 768, "expected_seconds": expected}
    for problem in problems(waveform, rate, **options, guards=Guards()):
        assert str(problem) == f"{problem.name}: {problem.detail}"


def test_a_problem_is_printed_as_a_line() -> None:
    assert str(Problem("short", "1.0 s of speech")) == "short: 1.0 s of speech"


def test_impossible_guards_are_named_in_one_error() -> None:
    broken = {field.name: -99 for field in fields(Guards)}
    with pytest.raises(BarkError) as raised:
        Guards(**broken)
    assert all(f"{name} must be" in str(raised.value) for name in broken)
    for name in broken:
        with pytest.raises(BarkError, match=f"{name} must be .*, not nan"):
            Guards(**{name: float("nan")})
