"""The trimmer: silence at both ends and invented tails go, speech stays, and the pieces do not matter."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bark_onnx.arrays import Waveform
from bark_onnx.long.guards import Guards
from bark_onnx.long.trimming import KEPT_SECONDS, Trimmer
from synthetic_speech import RATE, silence, speech


def trim(waveform: Waveform, expected: float = 0.0, guards: Guards | None = None, rate: int = RATE) -> slice:
    """Which part is kept."""
    trimmer = Trimmer(rate, expected_seconds=expected, guards=guards)
    kept = np.concatenate([trimmer.push(waveform), trimmer.finish()])
    return slice(trimmer.start, trimmer.start + len(kept))


def with_tail(said: float, gap: float, tail: float, seed: int = 0) -> Waveform:
    return np.concatenate([speech(said, seed), silence(gap), speech(tail, seed + 1, -23)])


@settings(max_examples=30, deadline=None)
@given(
    before=st.floats(0, 2),
    after=st.floats(0, 2),
    seed=st.integers(0, 99),
    dbfs=st.floats(-35, -10),
    said=st.floats(0.3, 3),
)
def test_trim_removes_silence_at_both_ends(before: float, after: float, seed: int, dbfs: float, said: float) -> None:
    spoken = speech(said, seed, dbfs)
    waveform = np.concatenate([silence(before), spoken, silence(after)])
    kept = trim(waveform)
    first, last = len(silence(before)), len(silence(before)) + len(spoken)
    slack = 0.3 * RATE  # a syllable may begin or end in a soft consonant, or in a gap between words
    assert max(0, first - (KEPT_SECONDS + 0.02) * RATE) <= kept.start <= first + slack
    assert last - slack <= kept.stop <= min(len(waveform), last + (KEPT_SECONDS + 0.02) * RATE)
    lost = np.concatenate([waveform[: kept.start], waveform[kept.stop :]])
    assert not len(lost) or np.sqrt(np.mean(lost**2)) < 10 ** ((dbfs - 20) / 20)


@pytest.mark.parametrize("waveform", [silence(3), np.zeros(100, np.float32), np.empty(0, np.float32)])
def test_silence_is_dropped_unless_it_is_the_beginning_of_all(waveform: Waveform) -> None:
    assert trim(waveform) == slice(0, 0)
    first = Trimmer(RATE, from_start=True)
    assert np.array_equal(np.concatenate([first.push(waveform), first.finish()]), waveform)


def test_trim_keeps_a_waveform_without_silence() -> None:
    waveform = speech(3, 1)[:16_000]
    assert trim(waveform) == slice(0, len(waveform))


def test_trim_keeps_noise_as_loud_as_consonants() -> None:
    waveform = np.concatenate([silence(1, dbfs=-40), speech(3), silence(1, dbfs=-40)])
    assert trim(waveform) == slice(0, len(waveform))


def test_trim_cuts_an_invented_tail() -> None:
    waveform = with_tail(4, 1.2, 2)
    assert trim(waveform).stop > 6 * RATE
    kept = trim(waveform, 4.5)
    assert 3.8 * RATE < kept.stop < 4.1 * RATE
    assert trim(waveform, 4.5, Guards(tail_silence=2)).stop > 6 * RATE


@st.composite
def cut(draw: st.DrawFn) -> tuple[Waveform, list[int]]:
    """A passage with pauses, perhaps with a tail, and where it is cut into pieces."""
    seed = draw(st.integers(0, 10**6))
    parts = [silence(draw(st.floats(0, 1))), speech(draw(st.floats(0.2, 4)), seed, draw(st.floats(-40, -12)))]
    for _ in range(draw(st.integers(0, 2))):
        parts += [silence(draw(st.floats(0, 1.6))), speech(draw(st.floats(0.1, 2)), seed + 1)]
    waveform = np.concatenate([*parts, silence(draw(st.floats(0, 1)))])
    return waveform, sorted(draw(st.lists(st.integers(0, len(waveform)), max_size=12)))


@settings(max_examples=60, deadline=None)
@given(cut(), st.booleans(), st.sampled_from([0.0, 1.0, 4.0]))
def test_the_pieces_do_not_matter(passage: tuple[Waveform, list[int]], from_start: bool, expected: float) -> None:
    waveform, cuts = passage
    whole, pieces = (Trimmer(RATE, from_start=from_start, expected_seconds=expected) for _ in range(2))
    at_once = np.concatenate([whole.push(waveform), whole.finish()])
    parts = [pieces.push(part) for part in np.split(waveform, cuts)]
    assert np.concatenate([*parts, pieces.finish()]).tobytes() == at_once.tobytes()
    assert pieces.sounds == whole.sounds
    start = whole.start
    assert at_once.tobytes() == waveform[start : start + len(at_once)].tobytes()


def test_what_begins_at_once_passes_samples_on_at_once() -> None:
    """All but silence, which may be the end."""
    waveform = np.concatenate([silence(0.5), speech(3)])
    trimmer = Trimmer(RATE, from_start=True)
    passed = [len(trimmer.push(part)) for part in np.split(waveform, 35)]
    waits = np.cumsum([len(waveform) / 35] * 35) - np.cumsum(passed)
    assert passed[:5] == [800] * 5
    assert waits.max() <= 0.25 * RATE  # a gap between two words


def test_the_sounds_are_the_stretches_between_pauses() -> None:
    waveform = np.concatenate([silence(0.4), speech(1.5, 2), silence(0.6), speech(1, 3), silence(0.3)])
    trimmer = Trimmer(RATE)
    kept = np.concatenate([trimmer.push(waveform), trimmer.finish()])
    sounds = trimmer.sounds
    assert sounds[0][0] == pytest.approx(KEPT_SECONDS, abs=0.06)
    assert sounds[-1][1] == pytest.approx(len(kept) / RATE - KEPT_SECONDS, abs=0.02)
    pauses = [(end, first) for (_, end), (first, _) in pairwise(sounds)]
    (pause,) = [pause for pause in pauses if pause[1] - pause[0] > 0.4]
    assert pause == pytest.approx((1.55, 2.15), abs=0.1)


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float32, st.integers(0, 2_000), elements=st.floats(width=32)),
    st.floats(0, 20),
    st.sampled_from([8_000, 24_000, 44_100]),
)
def test_any_samples_can_be_trimmed(waveform: Waveform, expected: float, rate: int) -> None:
    kept = trim(waveform, expected, rate=rate)
    assert 0 <= kept.start <= kept.stop <= len(waveform)
