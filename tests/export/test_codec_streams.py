"""The codec in chunks and in rows: the waveform is that of the whole utterance within 1e-5, for any chunks.

The whole one is compared with transformers' in test_parity; here other sizes are too, dilated convolutions among them.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import EncodecConfig, EncodecModel

from bark_onnx import Vocabulary
from bark_onnx.graphs import codec as codec_module
from bark_onnx.graphs.codec import CodecDecoder
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.memory import Memory
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.sizes import CodecSize, codec_state
from bark_onnx.stages.codec import WaveformStream
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY
from bark_onnx_export.graphs import export as exporting
from bark_onnx_export.graphs.networks import codec_graph
from bark_onnx_export.modules.codec import CodecModule
from bark_onnx_export.sources.configuration import Section
from bark_onnx_export.weights.encodec import load_huggingface_codec
from transformers_reference import one_torch_thread as one_torch_thread

TOLERANCE = 1e-5
Codes = NDArray[np.int64]

# Hugging Face's names. In "dilated" the last context is the longest; in "one sample" it is all of a frame, and more.
CODECS: dict[str, dict[str, object]] = {
    "published kernels": {"num_filters": 2, "hidden_size": 8},  # as in the committed bundle, which is traced anyway
    "dilated": {"num_residual_layers": 3, "dilation_growth_rate": 5, "upsampling_ratios": [4, 2], "kernel_size": 3},
    "one sample": {"upsampling_ratios": [1, 2], "last_kernel_size": 9, "kernel_size": 1, "num_lstm_layers": 1},
    "no context": {"kernel_size": 1, "last_kernel_size": 1, "residual_kernel_size": 1, "use_conv_shortcut": False},
}
FIRST_FRAMES = {"published kernels": 7, "dilated": 13, "one sample": 5, "no context": 1}


class Codec:
    """One set of weights: in transformers, as the exported torch module, as the exported graph."""

    def __init__(self, path: Path, space: Vocabulary, config: EncodecConfig) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.reference = EncodecModel(config).eval().requires_grad_(False)
            for name, tensor in self.reference.state_dict().items():
                if name.endswith("codebook.embed"):
                    tensor.normal_()
                elif name.endswith("conv.bias"):
                    tensor.normal_(std=0.05)
                elif ".lstm." in name:
                    tensor.mul_(4)  # so that its state matters
                elif name.endswith("original0"):  # weight norm's magnitudes
                    tensor.mul_(1.3)
        section = Section("config.json", config.to_dict())
        weights = load_huggingface_codec("test", section, self.reference.state_dict(), space)
        assert isinstance(weights.size, CodecSize)
        self.size = weights.size
        self.torch = CodecModule.from_tensors(self.size, weights.tensors)
        self.path = path
        exporting.export_graph(codec_graph(self.torch), path)
        self.onnx = CodecDecoder(path, self.size, Device.choose("cpu", 1))

    def codes(self, frames: int, seed: int = 0) -> Codes:
        shape = (self.size.codebooks, frames)
        return np.random.default_rng(seed).integers(0, self.size.codebook_size, shape)

    def expected(self, codes: Codes) -> NDArray[np.float32]:
        """The whole waveform, by transformers."""
        embedded = self.reference.quantizer.decode(torch.tensor(codes[:, None]))
        return self.reference.decoder(embedded)[0, 0].numpy()


@pytest.fixture(scope="module", params=CODECS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def codec(name: str, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    options = {"num_filters": 4, "hidden_size": 12, "codebook_size": 64} | CODECS[name]
    frame_rate = EncodecConfig(**options).frame_rate
    config = EncodecConfig(**options, target_bandwidths=[8.5 * 6 * frame_rate / 1000])  # 8 codebooks of 6 bits
    return Codec(tmp_path_factory.mktemp("codec") / "codec.onnx", SMALL_VOCABULARY, config)


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def array_of(tensor: Memory) -> NDArray[np.float32]:
    """A tensor of the codec's state, on the CPU."""
    return np.ndarray(tensor.shape, tensor.dtype, tensor.owner, tensor.pointer - tensor.owner.ctypes.data)


def cut(codes: Codes, lengths: list[int]) -> list[Codes]:
    """Chunks of these lengths, and a last one with the rest."""
    return np.split(codes, np.minimum(np.cumsum(lengths), codes.shape[1]), axis=1)


def test_first_frames(name: str, codec: Codec) -> None:
    assert codec.size.first_frames == FIRST_FRAMES[name]


def test_no_operator_reads_a_length(codec: Codec) -> None:
    """ONNX Runtime computes with lengths on the CPU, also where the other operators run on a GPU."""
    assert not {"Shape", "Size"} & {node.op_type for node in onnx.load(codec.path).graph.node}


@pytest.mark.parametrize("frames", [1, 2, 5, 12, 13, 60])
def test_whole(codec: Codec, frames: int) -> None:
    """Also for utterances that are shorter than the reflection at their beginning."""
    codes = codec.codes(frames)
    expected = codec.expected(codes)
    assert expected.std() > 0.001
    assert_close(codec.onnx.decode(codes), expected)


@pytest.mark.parametrize("run_frames", [1, 8, 30, 60])
def test_a_long_utterance_takes_several_runs(codec: Codec, run_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the first run must have more frames than that, and where the last one has few."""
    monkeypatch.setattr(codec_module, "RUN_FRAMES", run_frames)
    codes = codec.codes(61)
    assert_close(codec.onnx.decode(codes), codec.expected(codes))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.integers(0, 40), lengths=st.lists(st.integers(0, 15), max_size=12), seed=st.integers(0, 9))
def test_any_chunks_join_to_the_whole(codec: Codec, frames: int, lengths: list[int], seed: int) -> None:
    codes = codec.codes(frames, seed)
    stream = WaveformStream(codec.onnx)
    for _ in range(2):  # the first utterance does not affect the second
        parts = [*(stream.push(chunk) for chunk in cut(codes, lengths)), stream.finish()]
        whole = codec.onnx.decode(codes) if frames else np.zeros(0, np.float32)
        assert_close(np.concatenate(parts), whole)


def test_each_push_returns_all_its_samples(codec: Codec) -> None:
    """From `first_frames` on, each push returns its own samples."""
    stream, first, frame = WaveformStream(codec.onnx), codec.size.first_frames, codec.size.frame_samples
    codes = codec.codes(first + 4)
    assert [len(stream.push(codes[:, n : n + 1])) for n in range(first - 1)] == [0] * (first - 1)
    assert len(stream.push(codes[:, first - 1 : first])) == first * frame
    assert len(stream.push(codes[:, first : first + 1])) == frame
    assert len(stream.push(codes[:, :0])) == 0
    assert len(stream.push(codes[:, first + 1 :])) == 3 * frame
    assert len(stream.finish()) == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.tuples(st.integers(1, 15), st.lists(st.booleans(), min_size=3, max_size=3)), max_size=6),
    seed=st.integers(0, 9),
)
def test_rows_are_utterances_of_their_own(codec: Codec, chunks: list[tuple[int, list[bool]]], seed: int) -> None:
    """A row can begin an utterance in any chunk, beside rows that continue theirs."""
    rows = 3
    state = codec.onnx.new_state(rows)
    for tensor in state.tensors:
        array_of(tensor).fill(np.nan)  # what a fresh row holds means nothing
    spoken: list[list[tuple[list[Codes], list[NDArray[np.float32]]]]] = [[] for _ in range(rows)]
    for n, (length, anew) in enumerate(chunks):
        fresh = np.array(anew) | (n == 0)
        length += codec.size.first_frames if fresh.any() else 0
        codes = np.stack([codec.codes(length, seed + rows * n + row) for row in range(rows)])
        decoded = codec.onnx.decode_chunk(state, codes, fresh)
        for row in range(rows):
            if fresh[row]:
                spoken[row].append(([], []))
            spoken[row][-1][0].append(codes[row])
            spoken[row][-1][1].append(decoded[row])
    for utterances in spoken:
        for parts, audio in utterances:
            assert_close(np.concatenate(audio), codec.onnx.decode(np.concatenate(parts, axis=1)))


@pytest.mark.parametrize("chunk", [1, 2, 9])
def test_torch_streams_as_the_graph_does(codec: Codec, chunk: int) -> None:
    """Samples and state of several chunks; one of two rows begins another utterance in between."""
    first = codec.size.first_frames
    codes = np.stack([codec.codes(first + 20, seed) for seed in (1, 2)])
    state, past = codec.onnx.new_state(2), codec.torch.new_state(2)
    starts = [0, *range(first, first + 9, chunk), first + 9]
    for n, (start, end) in enumerate(zip(starts, [*starts[1:], first + 20], strict=True)):
        fresh = np.array([n == 0, n == 0 or end == first + 20])
        part = codes[..., start:end]
        audio, *past = codec.torch(torch.tensor(part), torch.tensor(fresh), *past)
        assert_close(codec.onnx.decode_chunk(state, part, fresh), audio.numpy())
        for found, tensor, shape in zip(state.tensors, past, codec_state(codec.size).values(), strict=True):
            assert found.shape == (2, *shape)
            assert_close(array_of(found), tensor.numpy())


def test_an_exported_bundle_streams(bundle: Path) -> None:
    decoder = Networks(Bundle.open(bundle), Device.choose("cpu", 1)).codec
    codes = np.random.default_rng(5).integers(0, decoder.size.codebook_size, (decoder.size.codebooks, 90))
    stream = WaveformStream(decoder)
    parts = [stream.push(chunk) for chunk in cut(codes, [15, 15, 0, 1, 38])]
    assert_close(np.concatenate([*parts, stream.finish()]), decoder.decode(codes))
