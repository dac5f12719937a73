"""The joiner: no clicks, no jumps in loudness, no clipping, and the same samples after an interruption."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.audio.levels import level
from bark_onnx.long.joining import FADE_SECONDS, MEASURED_SECONDS, Joiner, Limiter
from synthetic_speech import RATE, silence, speech

FADE = round(FADE_SECONDS * RATE)


@st.composite
def passages(draw: st.DrawFn, quietest: float = -26.0, loudest: float = -14.0) -> list[tuple[Waveform, float]]:
    """Speech that begins and ends anywhere, each with the pause before it. The gain of 12 dB is enough for all."""
    listed = []
    for _ in range(draw(st.integers(2, 5))):
        waveform = speech(
            draw(st.floats(0.5, 2.5)),
            draw(st.integers(0, 10**6)),
            draw(st.floats(quietest, loudest)),
            crest=draw(st.floats(0.3, 8)),
        )
        listed.append((waveform, draw(st.sampled_from([0.0, 0.0, 0.01, 0.25, 0.8]))))
    return listed


def limit(waveform: NDArray[np.float64], rate: int) -> Waveform:
    limiter = Limiter(rate)
    return np.concatenate([limiter.push(waveform), limiter.finish()])


def loudness(waveform: Waveform) -> float:
    return level(waveform, RATE).loudness


def largest_step(waveform: Waveform) -> float:
    return float(np.abs(np.diff(waveform)).max())


def without_fades(waveform: Waveform, joined: Waveform) -> Waveform:
    """A passage with the gain and the limiter, but without fades."""
    clear = np.abs(waveform) > 0.01
    gain = np.median(joined[clear] / waveform[clear])
    return limit(waveform.astype(np.float64) * gain, RATE)


def joiner_at(target: float | None) -> Joiner:
    """A joiner whose first passage had this loudness; None: a new joiner."""
    joiner = Joiner(RATE)
    if target is not None:
        first = speech(MEASURED_SECONDS)
        joiner.add((first * 10 ** ((target - loudness(first)) / 20)).astype(np.float32), 0)
    return joiner


def join(listed: list[tuple[Waveform, float]], target: float | None = None) -> list[Waveform]:
    joiner = joiner_at(target)
    return [joiner.add(waveform, pause) for waveform, pause in listed]


@settings(max_examples=60, deadline=None)
@given(passages(), st.sampled_from([None, -24.0, -16.0]))
def test_joins_have_no_clicks_and_no_jumps(listed: list[tuple[Waveform, float]], target: float | None) -> None:
    parts = join(listed, target)
    for (waveform, pause), part in zip(listed, parts, strict=True):
        assert part.dtype == np.float32
        assert len(part) == len(waveform) + round(pause * RATE)
        assert np.abs(part.astype(np.float64)).max() <= 0.999
        assert not part[: len(part) - len(waveform)].any()
    spoken = [part[len(part) - len(waveform) :] for (waveform, _), part in zip(listed, parts, strict=True)]
    own = [without_fades(waveform, part) for (waveform, _), part in zip(listed, spoken, strict=True)]
    for (before, after), (whole_before, whole_after) in zip(pairwise(spoken), pairwise(own), strict=True):
        own_before, own_after = largest_step(whole_before), largest_step(whole_after)
        assert largest_step(before[-FADE:]) <= own_before
        assert largest_step(after[:FADE]) <= own_after
        assert abs(before[-1]) + abs(after[0]) <= min(own_before, own_after)  # the samples between them are zeros
        # A fade takes up to 5 dB from half a second of speech whose loudest peak is at its end.
        assert abs(loudness(whole_before) - loudness(whole_after)) <= 3.0


@settings(max_examples=30, deadline=None)
@given(passages(quietest=-45, loudest=-3), st.data())
def test_an_interrupted_job_continues_with_the_same_samples(
    listed: list[tuple[Waveform, float]], data: st.DataObject
) -> None:
    """A passage depends on those before it only in the loudness, which the first passage decides."""
    whole = join(listed)
    stop = data.draw(st.integers(1, len(listed)))
    joiner = Joiner(RATE)
    parts = [joiner.add(*listed[0]), *whole[1:stop]]
    parts += [joiner.add(*passage) for passage in listed[stop:]]
    assert np.concatenate(parts).tobytes() == np.concatenate(whole).tobytes()


def test_the_first_passage_decides_the_loudness() -> None:
    quiet, loud = speech(2, 1, -26), speech(2, 2, -15)
    joiner = Joiner(RATE)
    first = joiner.add(quiet, 0)
    assert np.abs(first[FADE:-FADE] - quiet[FADE:-FADE]).max() == pytest.approx(0, abs=1e-6)
    assert loudness(joiner.add(loud, 0.3)) == pytest.approx(loudness(first), abs=0.5)


@pytest.mark.parametrize(("dbfs", "gain"), [(-45, 12), (-30, 10), (-14, -6), (-5, -12)])
def test_the_gain_has_a_limit(dbfs: float, gain: float) -> None:
    waveform = speech(2, 3, dbfs).clip(-0.999, 0.999)
    measured = loudness(waveform)
    (part,) = join([(waveform, 0.0)], target=-20)
    expected = min(max(-20 - measured, -12), 12)
    assert expected == pytest.approx(gain, abs=2)
    assert loudness(part) - measured == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("quiet", [silence(2), np.zeros(RATE, np.float32), speech(2, dbfs=-55)])
def test_silence_is_not_amplified(quiet: Waveform) -> None:
    joiner = Joiner(RATE)
    assert np.abs(joiner.add(quiet, 0)).max() <= np.abs(quiet).max()
    later = speech(2)  # decides the loudness, as if it were the first passage
    assert np.array_equal(joiner.add(later, 0), Joiner(RATE).add(later, 0))
    assert np.abs(joiner.add(quiet, 0)).max() <= np.abs(quiet).max()


def test_a_click_in_silence_is_not_amplified() -> None:
    click = silence(2)
    click[RATE : RATE + 100] = 0.05
    (part,) = join([(click, 0.0)], target=-17)
    assert np.abs(part).max() <= 0.05


@pytest.mark.parametrize("samples", [0, 1, 2, 3, FADE, 2 * FADE - 1, 2 * FADE, 2 * FADE + 1])
def test_passages_may_have_any_length(samples: int) -> None:
    waveform = np.full(samples, 0.5, np.float32)
    (part,) = join([(waveform, 0.0)])
    assert len(part) == samples
    assert np.array_equal(part, part[::-1])
    if samples > 3:
        assert abs(part[0]) < 0.5 * np.pi / FADE * 2


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.float32, st.integers(0, 1_500), elements=st.floats(width=32)), st.floats(0, 1))
def test_any_samples_become_finite_samples(waveform: Waveform, pause: float) -> None:
    joiner = Joiner(RATE)
    part = np.concatenate([joiner.add(waveform, pause), joiner.add(waveform, pause)])
    assert np.isfinite(part).all()
    assert np.abs(part.astype(np.float64)).max(initial=0) <= 0.999
    assert len(part) == 2 * (len(waveform) + round(pause * RATE))


def test_the_input_is_not_changed() -> None:
    waveform = speech(1)
    copy = waveform.copy()
    joiner_at(-16).add(waveform, 0.5)
    assert np.array_equal(waveform, copy)


def test_the_limiter_changes_only_the_surroundings_of_peaks() -> None:
    waveform = speech(3, 4, -18).astype(np.float64)
    quiet = waveform * 0.9 / np.abs(waveform).max()
    assert np.array_equal(limit(quiet, RATE), quiet.astype(np.float32))
    loud = quiet.copy()
    loud[RATE] = 1.8
    limited = limit(loud, RATE)
    assert limited[RATE] == pytest.approx(0.998)
    far = np.abs(np.arange(len(loud)) - RATE) > 2 * 0.01 * RATE + 1
    assert np.allclose(limited[far], quiet[far], atol=1e-6)
    gain = limited / loud
    assert np.abs(np.diff(gain)).max() < 1 / (0.01 * RATE)  # the gain changes smoothly


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), dbfs=st.floats(-10, 12), rate=st.sampled_from([1_000, 8_000, 24_000]))
def test_no_limited_sample_exceeds_the_peak(seed: int, dbfs: float, rate: int) -> None:
    waveform = speech(0.5, seed, dbfs, rate).astype(np.float64)
    limited = limit(waveform, rate)
    assert np.abs(limited.astype(np.float64)).max() <= 0.999
    assert (np.abs(limited) <= np.abs(waveform) + 1e-6).all()
    assert (np.sign(limited) * np.sign(waveform) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dbfs=st.floats(-40, 6),
    target=st.sampled_from([None, -24.0]),
    cuts=st.lists(st.integers(0, 3 * RATE), max_size=10).map(sorted),
)
def test_the_pieces_of_a_passage_do_not_matter(seed: int, dbfs: float, target: float | None, cuts: list[int]) -> None:
    waveform = speech(3, seed, dbfs)
    at_once = joiner_at(target).add(waveform, 0.2)
    passage = joiner_at(target).begin(0.2)
    parts = [passage.push(part) for part in np.split(waveform, cuts)]
    assert np.concatenate([*parts, passage.finish()]).tobytes() == at_once.tobytes()


def test_the_first_passage_is_passed_on_at_once() -> None:
    """All but the 20 ms that may fade."""
    passage = Joiner(RATE).begin(0)
    assert len(passage.push(speech(0.1))) == 0.08 * RATE
    assert len(passage.push(speech(1))) == RATE
    assert len(passage.finish()) == 0.02 * RATE


def test_pauses_do_not_change_the_loudness() -> None:
    sine = np.sin(np.arange(RATE) * 0.3).astype(np.float32)
    assert loudness(sine) == pytest.approx(-3.01, abs=0.05)
    assert loudness(sine / 10) == pytest.approx(-23.01, abs=0.05)
    assert loudness(sine[: RATE // 200]) == pytest.approx(-3.01, abs=0.2)  # a quarter of a frame
    paused = np.concatenate([silence(3), sine / 10, silence(3, dbfs=-58)])
    assert loudness(paused) == pytest.approx(-23.01, abs=0.2)
    assert loudness(np.zeros(RATE, np.float32)) == -np.inf
    assert loudness(np.empty(0, np.float32)) == -np.inf


@pytest.mark.parametrize("pause", [-0.1, float("nan"), float("inf"), "1", None])
def test_an_impossible_pause_is_refused(pause: float) -> None:
    with pytest.raises(BarkError, match="pause must be"):
        Joiner(RATE).add(speech(0.5), pause)


@pytest.mark.parametrize("rate", [0, -1, 1.5, float("nan"), "8000"])
def test_an_impossible_sample_rate_is_refused(rate: int) -> None:
    with pytest.raises(BarkError, match="sample_rate must be"):
        Joiner(rate)
