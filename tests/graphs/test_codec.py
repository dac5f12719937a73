"""The codec of a bundle, in chunks: the waveform is that of the whole, and memory does not grow with it. And its state.

tests/export/test_codec_streams.py does the same for codecs of other shapes, and compares them with transformers.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx import Bark, GenerationOptions, Request, Vocabulary
from bark_onnx.errors import BundleError
from bark_onnx.graphs import codec as codec_module
from bark_onnx.graphs.codec import RUN_FRAMES, WAVEFORM, CodecDecoder
from bark_onnx.graphs.memory import Memory
from bark_onnx.graphs.session import Binding, Graph
from bark_onnx.model.sizes import CodecSize, codec_state, misfits
from bark_onnx.stages.codec import WaveformStream

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


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes [rows, samples] of the waveforms that codec graphs have made, one for each run."""
    made: list[tuple[int, ...]] = []
    bind = Graph.bind

    def watched(
        graph: Graph, inputs: Mapping[str, Memory], outputs: Mapping[str, Memory], *, repeated: bool = False
    ) -> Binding:
        made.extend(memory.shape for name, memory in outputs.items() if name == WAVEFORM)
        return bind(graph, inputs, outputs, repeated=repeated)

    monkeypatch.setattr(Graph, "bind", watched)
    return made


def in_one_run(codec: CodecDecoder, codes: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float32]:
    with monkeypatch.context() as patch:
        patch.setattr(codec_module, "RUN_FRAMES", codes.shape[1])
        return codec.decode(codes)


@pytest.mark.parametrize("frames", [1, 6, 7, 63, 64, 65, 150])
def test_runs_that_are_filled_up_change_nothing(
    codec: CodecDecoder, frames: int, runs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where all runs then have one length, except those of a few frames."""
    codes = some_codes(codec, frames)
    expected = codec.decode(codes)
    runs.clear()
    monkeypatch.setattr(codec, "_fills_runs", True)
    np.testing.assert_allclose(codec.decode(codes), expected, rtol=0, atol=TOLERANCE)
    filled = RUN_FRAMES if frames >= codec.size.first_frames else frames
    assert set(runs) == {(1, filled * codec.size.frame_samples)}


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(7, 200), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_chunks_in_filled_runs_join_to_the_whole(bark: Bark, frames: int, cuts: list[int]) -> None:
    """As on a GPU: frames whose run was filled up are decoded again with the next chunk."""
    codec = bark._networks.codec
    codes, stream = some_codes(codec, frames), WaveformStream(codec)
    expected = codec.decode(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_fills_runs", True)
        for _ in range(2):  # the first utterance does not affect the second
            parts = [stream.push(chunk) for chunk in np.split(codes, sorted(min(cut, frames) for cut in cuts), axis=1)]
            found = np.concatenate([*parts, stream.finish()])
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_rows_in_filled_runs_are_utterances_of_their_own(codec: CodecDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row can begin an utterance beside one whose last frames are to be decoded again."""

    def decoded() -> list[NDArray[np.float32]]:
        state = codec.new_state(2)
        chunks = ((20, (True, True)), (9, (False, True)), (1, (False, False)), (5, (True, False)), (80, (True, True)))
        return [
            codec.decode_chunk(
                state, np.stack([some_codes(codec, frames), some_codes(codec, frames, 6)]), np.array(fresh)
            )
            for frames, fresh in chunks
        ]

    expected = decoded()
    monkeypatch.setattr(codec, "_fills_runs", True)
    for found, whole in zip(decoded(), expected, strict=True):
        np.testing.assert_allclose(found, whole, rtol=0, atol=TOLERANCE)


def test_a_stream_runs_the_codec_at_one_length_on_a_gpu(
    bark: Bark, codec: CodecDecoder, runs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks have many lengths, and their samples are those of the CPU."""
    options = GenerationOptions(max_seconds=2.5, allow_early_stop=False)
    expected = list(bark.stream("hello", options=options, seed=1))
    lengths, most = set(runs), len(runs)
    runs.clear()
    monkeypatch.setattr(codec, "_fills_runs", True)
    found = list(bark.stream("hello", options=options, seed=1))
    assert len(lengths) > 3
    assert set(runs) == {(1, RUN_FRAMES * codec.size.frame_samples)}
    assert len(runs) <= 2 * most
    for chunk, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(chunk.waveform, same.waveform, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seconds", [10, 60])
def test_a_run_does_not_grow_with_the_utterance(
    codec: CodecDecoder, seconds: int, runs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, and pushed into a stream at once: the samples are those of a single run."""
    codes, stream = some_codes(codec, 75 * seconds), WaveformStream(codec)
    whole, pushed = codec.decode(codes), stream.push(codes)
    assert max(runs) == (1, RUN_FRAMES * codec.size.frame_samples)
    assert len(runs) == 2 * -(-75 * seconds // RUN_FRAMES)
    runs.clear()
    expected = in_one_run(codec, codes, monkeypatch)
    assert runs == [(1, len(expected))]
    assert expected.std() > 0.001
    for found in (whole, pushed):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_a_run_does_not_grow_with_the_batch(bark: Bark, runs: list[tuple[int, ...]]) -> None:
    """Utterances of a batch run one after another, so each has the samples that it has alone, bit for bit."""
    lengths = (0.3, 2.5, 0.5, 2.5, 2.0)
    requests = [
        Request("hello", seed=seed, options=GenerationOptions(max_seconds=seconds, allow_early_stop=False))
        for seed, seconds in enumerate(lengths)
    ]
    speeches = bark.generate_batch(requests)
    assert max(runs) == (1, RUN_FRAMES * bark.vocabulary.frame_samples)
    assert [speech.tokens.fine.shape[1] > RUN_FRAMES for speech in speeches] == [False, True, False, True, True]
    for speech in speeches:
        np.testing.assert_array_equal(speech.waveform, bark.decode(speech.tokens.fine))


def test_a_failed_run_leaves_the_state(codec: CodecDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run of a chunk fails; the chunk is decoded again."""
    codes, fresh = some_codes(codec, 3 * RUN_FRAMES)[None], np.ones(1, np.bool_)
    state, run, ran = codec.new_state(1), Binding.run, []

    def fails_once(binding: Binding) -> None:
        ran.append(binding)
        if len(ran) == 3:
            raise BundleError("no memory")
        run(binding)

    monkeypatch.setattr(Binding, "run", fails_once)
    begin = codec.decode_chunk(state, codes[..., :20], fresh)
    with pytest.raises(BundleError):
        codec.decode_chunk(state, codes[..., 20:], ~fresh)
    rest = codec.decode_chunk(state, codes[..., 20:], ~fresh)
    found = np.concatenate([begin, rest], axis=1)[0]
    np.testing.assert_allclose(found, codec.decode(codes[0]), rtol=0, atol=TOLERANCE)


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
