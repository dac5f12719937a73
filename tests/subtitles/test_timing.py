"""When each phrase is said: boundaries lie in pauses near where they are expected, in order, inside the passage."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx import Bark
from bark_onnx.splitting.passages import estimate_seconds
from bark_onnx.subtitles.formats import Cue
from bark_onnx.subtitles.phrases import LINE_WIDTH, LINES, lines, phrases, width
from bark_onnx.subtitles.timing import PAUSE_SECONDS, phrase_cues, stretches
from linear import is_linear
from synthetic_speech import RATE, silence, speech

THREE = ["The house is old.", "We walk to the river every day, and the dog comes too.", "Please read it."]
TEXTS = st.one_of(st.text("ab .!?,\n\r5你好，。「」é\u0301♪[]\x00\u2028…", max_size=300), st.text(max_size=100))
LEVELS = st.sampled_from(["phrase", "sentence"])


@pytest.fixture(scope="module")
def nano() -> Iterator[Bark]:
    with Bark.load(device="cpu", threads=1) as bark:
        yield bark


@st.composite
def sounds(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Stretches of sound as they are found: in order, with silences between them."""
    steps = draw(st.lists(st.tuples(st.floats(0.05, 2), st.floats(0.02, 5)), max_size=30))
    at, found = 0.0, []
    for pause, length in steps:
        found.append((at + pause, at + pause + length))
        at += pause + length
    return found


def spoken(texts: list[str], pauses: list[float], rates: list[float]) -> tuple[np.ndarray, list[float]]:
    """Synthetic speech of texts, with a pause after each, and at which second each text begins and ends."""
    parts, times, at = [silence(0.3)], [], 0.3
    for seed, (text, pause, rate) in enumerate(zip(texts, pauses, rates, strict=True)):
        seconds = estimate_seconds(text) * rate
        parts += [speech(seconds, seed=seed), silence(pause)]
        times += [at, at + seconds]
        at += seconds + pause
    return np.concatenate(parts), times


@pytest.mark.parametrize("rates", [[1, 1, 1], [0.8, 1.1, 1], [1.2, 1, 0.8], [1.5, 1.3, 1.4]])
def test_sentences_end_at_the_pauses(rates: list[float]) -> None:
    waveform, times = spoken(THREE, [0.4, 0.5, 0.6], rates)
    cues = phrase_cues(" ".join(THREE), stretches(waveform, RATE), 10, "HOST", level="sentence")
    assert [cue.text for cue in cues] == THREE
    assert {cue.speaker for cue in cues} == {"HOST"}
    assert [time for cue in cues for time in (cue.start, cue.end)] == pytest.approx([10 + t for t in times], abs=0.13)


def test_a_sentence_ends_at_the_longer_of_two_pauses() -> None:
    """The shorter one is nearer to where the end is expected."""
    text, found = "One two three four. One two three four.", [(0, 1.5), (2.1, 2.3), (2.4, 4)]
    first, second = phrase_cues(text, found, 0, level="sentence")
    assert (first.end, second.start) == (1.5, 2.1)
    assert [(cue.start, cue.end) for cue in phrase_cues(text, found, 0)] == [(0, 4)]  # both fit two lines


def test_a_pause_far_from_the_end_of_the_sentence_is_left_alone() -> None:
    first, second = phrase_cues(THREE[1] + " " + THREE[1], [(0, 0.5), (1.0, 9.0)], 0, level="sentence")
    assert first.end == second.start == pytest.approx(1.0 + 8.5 / 2 - 0.5)


def test_without_pauses_time_is_divided_in_proportion() -> None:
    cues = phrase_cues(" ".join(THREE), [(1.0, 7.0)], 5, level="sentence")
    assert (cues[0].start, cues[-1].end) == (6, 12)
    assert all(before.end == after.start for before, after in pairwise(cues))
    total = sum(map(estimate_seconds, THREE))
    for cue in cues:
        assert cue.end - cue.start == pytest.approx(6 * estimate_seconds(cue.text) / total, abs=0.1)


def test_a_pause_at_a_comma_is_not_taken_for_the_end_of_a_sentence() -> None:
    texts = ["On the way home we met a man,", "who had lost his key.", "He was very sad about it, I think."]
    waveform, times = spoken(texts, [0.35, 0.35, 0.3], [1, 1, 1])
    first, second = phrase_cues(" ".join(texts), stretches(waveform, RATE), 0, level="sentence")
    assert (first.end, second.start) == pytest.approx((times[3], times[4]), abs=0.13)


def test_phrases_of_subtitles_end_at_clauses() -> None:
    text = (
        "When the old man came back from the market in the evening, he saw that the door of his small house was open, "
        "and that somebody had put a letter on the table."
    )
    cues = phrase_cues(text, [(0, 3.4), (3.7, 6.5), (6.9, 10)], 0)
    assert [cue.text[-1] for cue in cues] == [",", ",", "."]
    assert [(cue.start, cue.end) for cue in cues] == [(0, 3.4), (3.7, 6.5), (6.9, 10)]


@pytest.mark.parametrize(("text", "found"), [("", [(0.0, 1.0)]), (" \n", [(0.0, 1.0)]), ("Hello.", [])])
@pytest.mark.parametrize("level", ["phrase", "sentence"])
def test_nothing_said_is_no_cue(text: str, found: list[tuple[float, float]], level: Literal["phrase"]) -> None:
    assert phrase_cues(text, found, 0, level=level) == []


def test_stretches_are_separated_by_silences_longer_than_50_ms() -> None:
    waveform = np.concatenate([speech(1, seed=1), silence(0.04), speech(1, seed=2), silence(0.5), speech(1, seed=3)])
    found = stretches(waveform, RATE)
    assert all(after[0] - before[1] > PAUSE_SECONDS for before, after in pairwise(found))
    assert any(abs(end - 2.04) < 0.05 and abs(first - 2.54) < 0.05 for (_, end), (first, _) in pairwise(found))
    assert stretches(silence(1), RATE) == []
    assert stretches(np.full(RATE, np.nan, np.float32), RATE) == []


@given(TEXTS, sounds(), LEVELS)
def test_cues_are_in_order_inside_the_passage_and_have_the_whole_text(
    text: str, found: list[tuple[float, float]], level: Literal["phrase", "sentence"]
) -> None:
    cues = phrase_cues(text, found, 100, level=level)
    assert bool(cues) == bool(text.split() and found)
    if cues:
        assert cues[0].start == 100 + found[0][0]
        assert cues[-1].end == 100 + found[-1][1]
        assert "".join("".join(cue.text.split()) for cue in cues) == "".join(text.split())
    assert all(cue.text and cue.start <= cue.end for cue in cues)
    assert all(before.end <= after.start for before, after in pairwise(cues))


@given(TEXTS, sounds())
def test_a_cue_neither_begins_nor_ends_in_a_pause(text: str, found: list[tuple[float, float]]) -> None:
    for cue in phrase_cues(text, found, 0):
        assert any(first - 1e-6 <= cue.start <= end + 1e-6 for first, end in found)
        assert any(first - 1e-6 <= cue.end <= end + 1e-6 for first, end in found)


@pytest.mark.parametrize(
    "unit", ["a", "a. ", "a, ", "我。", "我", "\u0301", "[a] ", "♪", ".", "a.\n", '"a." '], ids=ascii
)
@pytest.mark.parametrize("level", ["phrase", "sentence"])
def test_it_takes_linear_time(unit: str, level: Literal["phrase", "sentence"]) -> None:
    pauses = [(float(at), at + 0.8) for at in range(500)]
    assert is_linear(lambda text: phrase_cues(text, pauses, 0, level=level), unit)


def test_many_pauses_take_linear_time() -> None:
    text = "Yes. " * 500
    assert is_linear(lambda marks: phrase_cues(text, [(at * 0.1, at * 0.1 + 0.05) for at in range(len(marks))], 0), ".")


@given(TEXTS)
def test_a_phrase_fits_two_lines(text: str) -> None:
    for phrase in phrases(text):
        shown = lines(phrase)
        assert len(shown) <= LINES
        assert all(width(line) <= LINE_WIDTH for line in shown)


def test_sentences_share_a_phrase_if_they_fit() -> None:
    assert phrases("No. Yes, of course.") == ["No. Yes, of course."]
    assert phrases(" ".join(THREE)) == [THREE[0], " ".join(THREE[1:])]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("voice", ["en_male", "en_female"])
def test_nano_ends_its_sentences_in_real_silences(nano: Bark, voice: str, seed: int) -> None:
    text = "The house is old. We walk to the river every day. The children are playing in the garden."
    speech = nano.generate(text, voice=voice, seed=seed)
    cues = phrase_cues(text, stretches(speech.waveform, speech.sample_rate), 0, level="sentence")
    assert [cue.text for cue in cues] == [f"{sentence}." for sentence in text.removesuffix(".").split(". ")]
    loud = np.sqrt(np.mean(speech.waveform**2))
    for before, after in pairwise(cues):
        gap = speech.waveform[round(before.end * speech.sample_rate) : round(after.start * speech.sample_rate)]
        assert len(gap) > 0.05 * speech.sample_rate
        assert np.sqrt(np.mean(gap**2)) < loud / 20
    assert 0 < cues[0].start < 0.5
    assert 0 < speech.duration - cues[-1].end < 0.5
    assert isinstance(cues[0], Cue)
