"""The codec of a bundle, in chunks and in batches: the waveform is that of the whole. And the sizes of its state.

tests/export/test_codec_streams.py does the same for codecs of other shapes, and compares them with transformers.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx import Bark, Vocabulary
from bark_onnx.graphs.codec import CodecDecoder
from bark_onnx.model.sizes import CodecSize, codec_state, misfits
from bark_onnx.stages.codec import WaveformStream, waveforms

TOLERANCE = 1e-5


@pytest.fixture
def codec(bark: Bark) -> CodecDecoder:
    return bark._networks.codec


def some_codes(codec: CodecDecoder, frames: int, seed: int = 5) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, codec.size.codebook_size, (codec.size.codebooks, frames))


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 60), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_chunks_join_to_the_whole(bark: Bark, frames: int, cuts: list[int]) -> None:
    codec = bark._networks.codec
    codes, stream = some_codes(codec, frames), WaveformStream(codec)
    parts = [stream.push(chunk) for chunk in np.split(codes, sorted(min(cut, frames) for cut in cuts), axis=1)]
    found = np.concatenate([*parts, stream.finish()])
    np.testing.assert_allclose(found, codec.decode(codes), rtol=0, atol=TOLERANCE)


def test_utterances_of_several_lengths_in_one_run(codec: CodecDecoder) -> None:
    codes = [some_codes(codec, frames, seed=frames) for frames in (1, 30, 7, 30, 90)]
    for waveform, own in zip(waveforms(codec, codes), codes, strict=True):
        np.testing.assert_allclose(waveform, codec.decode(own), rtol=0, atol=TOLERANCE)


def test_state_of_the_published_codec() -> None:
    state = codec_state(CodecSize())
    assert CodecSize().first_frames == 7
    assert list(state)[:4] == ["stem", "lstm.0.h", "lstm.0.c", "lstm.1.h"]
    assert state["stages.0.upsample"] == (512, 1)
    assert state["stages.3.residuals.0.conv_1"] == (32, 2)
    assert state["last"] == (32, 6)


def test_an_impossible_codec_is_refused_before_its_state_is_computed() -> None:
    """Codecs that can be exported are accepted. A dilation cannot grow without bounds."""
    for possible in (CodecSize(), CodecSize(shortcut=False), CodecSize(residual_layers=3, dilation_growth=5)):
        assert misfits("codec", possible, Vocabulary()) == []
    for change in (
        {"ratios": ()},
        {"ratios": (-8, -5, 4, 2)},
        {"kernel": 0},
        {"lstm_layers": 10**9},
        {"residual_layers": 40},
    ):
        assert misfits("codec", replace(CodecSize(), **change), Vocabulary()) == ["impossible"]
