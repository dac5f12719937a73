"""The synthesizer, where its shared libraries are installed."""

import numpy as np
import pytest

from bark_onnx_nano.speech import synthesis


@pytest.mark.skipif(not synthesis.available(), reason="needs flite's shared libraries")
def test_timings_are_the_same_with_and_without_samples() -> None:
    aloud, silent = synthesis.speak("Good morning.", "slt"), synthesis.speak("Good morning.", "slt", aloud=False)
    assert aloud.segments == silent.segments
    assert aloud.seconds == pytest.approx(len(aloud.samples) / synthesis.SAMPLE_RATE, abs=0.01)
    assert np.abs(aloud.samples).max() > 1000
