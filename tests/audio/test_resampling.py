"""Another sample rate: tones keep their frequency and level, and pieces give what the whole gives."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx.arrays import Waveform
from bark_onnx.audio.resampling import Resampler
from synthetic_speech import speech

RATE = 24_000
SPEECH = speech(2.0, seed=2, rate=RATE)
RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000]


def resampled(waveforms: list[Waveform], rate: int) -> Waveform:
    resampler = Resampler(RATE, rate)
    return np.concatenate([*(resampler.push(waveform) for waveform in waveforms), resampler.finish()])


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_frequency_and_its_level(rate: int) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1_000 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    result = resampled([tone], rate)
    assert len(result) == 2 * rate
    expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(2 * rate) / rate)
    inside = slice(rate // 10, -rate // 10)
    assert np.abs(result - expected)[inside].max() < 1e-3


def test_a_tone_above_half_the_new_rate_is_removed() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 6_000 * np.arange(RATE) / RATE)).astype(np.float32)
    assert np.abs(resampled([tone], 8_000)[800:-800]).max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(rate=st.sampled_from(RATES), cuts=st.lists(st.integers(0, 2 * RATE), max_size=20))
def test_a_stream_is_the_whole(rate: int, cuts: list[int]) -> None:
    assert np.array_equal(resampled(list(np.split(SPEECH, sorted(cuts))), rate), soxr.resample(SPEECH, RATE, rate))


def test_the_same_rate_changes_nothing() -> None:
    assert np.array_equal(resampled([SPEECH], RATE), SPEECH)


@pytest.mark.parametrize(("rate", "milliseconds"), [(8_000, 80), (16_000, 40), (48_000, 40)])
def test_how_long_the_filter_reads_ahead(rate: int, milliseconds: int) -> None:
    resampler, piece = Resampler(RATE, rate), RATE // 100
    silent = 0
    while not len(resampler.push(SPEECH[silent * piece : (silent + 1) * piece])):
        silent += 1
    assert milliseconds - 20 <= 10 * silent <= milliseconds


def test_not_a_number_does_not_spread() -> None:
    waveform = SPEECH.copy()
    waveform[1_000] = np.nan
    assert np.isfinite(resampled([waveform], 8_000)).all()
