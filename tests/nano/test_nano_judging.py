"""Word errors and their confidence intervals."""

import pytest

from bark_onnx_nano.judging.recognise import WordErrors, distance, word_errors


def test_word_errors() -> None:
    assert distance("kitten", "sitting") == 3
    errors = word_errors(["The cat sat.", "Hello there"], ["the cat sat", "hello their dear"])
    assert (errors.errors, errors.words) == ([0, 2], [3, 2])
    assert errors.rate == pytest.approx(0.4)
    low, high = WordErrors([0, 1, 0, 1] * 30, [4] * 120).interval()
    assert 0.05 < low < 0.125 < high < 0.2


def test_repeated_takes_do_not_narrow_the_interval() -> None:
    """More takes of the same sentences give no information about other sentences."""
    once = WordErrors([0, 1, 0, 1] * 30, [4] * 120)
    twice = once + once
    assert (twice.rate, twice.interval(), sum(twice.words)) == (once.rate, once.interval(), 960)
