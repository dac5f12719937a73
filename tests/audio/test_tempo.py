"""Faster and slower speech: its length, its pitch, its silences, and that pieces give what the whole gives."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.audio.encoder import StreamEncoder, encode
from bark_onnx.audio.tempo import Tempo
from synthetic_speech import speech

RATE = 24_000
SPEECH = speech(3.0, seed=2, rate=RATE)
SPEEDS = [0.25, 0.5, 0.8, 1.25, 2.0, 3.0, 4.0]


def at_speed(waveforms: list[Waveform], speed: float, rate: int = RATE) -> Waveform:
    pytest.importorskip("av")
    tempo = Tempo(speed, rate)
    return np.concatenate([*(tempo.push(waveform) for waveform in waveforms), tempo.finish()])


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_length_is_exact_and_the_loudness_stays(speed: float) -> None:
    for length in (0, 1, 100, RATE // 10, len(SPEECH)):
        assert len(at_speed([SPEECH[:length]], speed)) == round(length / speed)
    power = np.mean(at_speed([SPEECH], speed) ** 2) / np.mean(SPEECH**2)
    assert math.sqrt(power) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_tone_keeps_its_pitch_and_has_no_clicks(speed: float) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    result = at_speed([tone], speed)
    inside = result[RATE // 20 : -RATE // 20]
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside))))
    assert np.argmax(spectrum) * RATE / len(inside) == pytest.approx(200, abs=RATE / len(inside))
    steepest = 0.5 * 2 * np.pi * 200 / RATE  # of the tone, from one sample to the next
    assert np.abs(np.diff(inside)).max() < 1.1 * steepest
    assert np.abs(inside).max() < 0.55


@pytest.mark.parametrize("rate", [8_000, 25_000, 48_000])
@pytest.mark.parametrize("speed", [0.25, 1.5, 4.0])
def test_sounds_are_where_they_belong_and_silence_stays_silence(speed: float, rate: int) -> None:
    """25 kHz is where the filter's windows are longest, which is where it holds most back."""
    begins = (0.5, 2.0, 3.5)
    waveform = np.zeros(4 * rate, np.float32)
    for begin in begins:
        time = np.arange(rate // 5) / rate
        burst = 0.4 * np.sin(2 * np.pi * 150 * time) * np.sin(np.pi * time / 0.2) ** 2
        waveform[round(begin * rate) :][: len(burst)] = burst
    result = at_speed([waveform], speed, rate)
    for begin in begins:
        first, end = (round((begin + moved) / speed * rate) for moved in (-0.5, 0.7))
        power = result[max(0, first) : end] ** 2
        centre = (max(0, first) + np.average(np.arange(len(power)), weights=power)) / rate
        assert centre == pytest.approx((begin + 0.1) / speed, abs=0.06 if rate != 25_000 else 0.1)
    blend = 0.1 if speed > 1 else 0.5  # seconds around a sound into which the windows may carry it
    quiet = result[round((0.7 / speed + blend) * rate) : round((2.0 / speed - blend) * rate)]
    assert len(quiet) > 0.1 * rate
    assert np.abs(quiet).max() == 0


@settings(max_examples=20, deadline=None)
@given(speed=st.sampled_from(SPEEDS), cuts=st.lists(st.integers(0, len(SPEECH)), max_size=20))
def test_a_stream_is_the_whole(speed: float, cuts: list[int]) -> None:
    assert np.array_equal(at_speed(list(np.split(SPEECH, sorted(cuts))), speed), at_speed([SPEECH], speed))


@pytest.mark.parametrize(("speed", "milliseconds"), [(0.25, 70), (0.8, 50), (1.5, 60), (2.0, 70), (4.0, 200)])
def test_how_long_the_filter_reads_ahead(speed: float, milliseconds: int) -> None:
    pytest.importorskip("av")
    tempo, piece = Tempo(speed, RATE), RATE // 100
    silent = 0
    while not len(tempo.push(SPEECH[silent * piece : (silent + 1) * piece])):
        silent += 1
    assert milliseconds - 20 <= 10 * (silent + 1) <= milliseconds


def test_at_speed_one_nothing_changes_and_pyav_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av.filter", None)
    tempo = Tempo(1.0, RATE)
    assert tempo.push(SPEECH) is SPEECH
    assert len(tempo.finish()) == 0
    with pytest.raises(
        BarkError, match=r"^a speed of 1\.5 needs PyAV: in a checkout .*'\.\[av\]' \(with its wheel: .*\)$"
    ):
        StreamEncoder("wav", RATE, speed=1.5)


def test_encoders_change_the_speed_before_the_rate() -> None:
    pytest.importorskip("av")
    content = encode(SPEECH, RATE, "pcm", 8_000, 1.5)
    assert len(content) == 2 * (len(SPEECH) // 3 * 2 // 3)
    with StreamEncoder("pcm", RATE, 8_000, 1.5) as encoder:
        pieces = [encoder.push(piece) for piece in np.array_split(SPEECH, 40)] + [encoder.finish()]
    assert b"".join(pieces) == content


def test_not_a_number_does_not_spread() -> None:
    waveform = SPEECH.copy()
    waveform[1_000] = np.nan
    assert np.isfinite(at_speed([waveform], 1.5)).all()


@pytest.mark.parametrize("speed", [0, 0.2, 4.1, math.nan, math.inf, -1, "2", None, True])
def test_an_impossible_speed_is_a_line(speed: float) -> None:
    with pytest.raises(BarkError, match=r"^speed must be (0\.25 to 4|a number), not "):
        Tempo(speed, RATE)
