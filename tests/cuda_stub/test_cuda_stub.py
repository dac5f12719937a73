"""ONNX Runtime's real CUDA provider over stub libraries: where nodes run, what a block of steps launches and waits for.

The stubs (runtime, cuBLAS, cuDNN, driver) make the provider start on a machine without a GPU; kernels compute nothing.
`make test-cuda-stub CUDA_STUB=DIR` runs these tests: DIR/lib has the libraries, of which libcudart.so.13 counts calls
(`fake_counts` and the other functions of `Stub`). No figure here is a time.
"""

import gc
import re
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from bark_onnx import Bark, GenerationOptions, Request
from bark_onnx.graphs import device as device_module
from bark_onnx.graphs.codec import RUN_FRAMES, WAVEFORM
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.memory import Memory
from bark_onnx.graphs.session import Binding, Graph
from bark_onnx.model.manifest import CAUSAL_STAGES, SAMPLERS, STAGES, graph_file
from bark_onnx.sampling.device import BLOCK, _bind_samplers
from bark_onnx.sampling.sequence import FineWindow
from generated import export
from stub_cuda import Memories, NoRun, Stub, begin_windows, needs_stub, take_valid_tokens

pytestmark = needs_stub
HALF_A_SECOND = GenerationOptions(max_seconds=0.5)

BUNDLES = {
    "fp16": ("fp16", "static"),
    "bf16": ("bf16", "static"),
    "w8a16": ("w8a16", "static"),
    "w4a16": ("w4a16", "static"),
    "fp16-portable": ("fp16", "portable"),
    "fp32-portable": ("fp32", "portable"),
}
STATIC = [name for name, (_, layout) in BUNDLES.items() if layout == "static"]
# Nodes of the portable layout and of the fine stage that compute shapes: ONNX Runtime leaves them to the CPU.
ON_CPU = {"Concat": 3, "Squeeze": 1}
# Kernels of a decode step of two layers and of its sampler, without matrix products: seen 63 to 82, at 1 to 8 rows.
MOST_KERNELS = {"fp16": 66, "bf16": 66, "w8a16": 76, "w4a16": 76, "fp16-portable": 85, "fp32-portable": 85}
MOST_MEGABYTES = 64  # of device memory for a model of two layers and eight rows


@pytest.fixture(scope="module")
def stub() -> Stub:
    return Stub()


@pytest.fixture(scope="module")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("stub")

    class Exported(dict[str, Path]):
        """Bundles, each exported when it is first asked for: single tests need few of them."""

        def __missing__(self, name: str) -> Path:
            self[name] = export(checkpoint, directory / name, *BUNDLES[name])
            return self[name]

    return Exported()


@pytest.fixture(autouse=True)
def valid_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    take_valid_tokens(monkeypatch)


def placement(path: Path, optimized: Path) -> tuple[Counter[str], bool]:
    """The operators of a graph that are left to the CPU, and whether tensors are copied between it and the GPU."""
    options = device_module.ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(optimized)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = device_module.Device.choose("cuda").providers(None)
    session = device_module.ort.InferenceSession(path, options, providers=providers)
    parts = session.get_provider_graph_assignment_info()
    assert any(part.ep_name == device_module.CUDA for part in parts)
    left = Counter(node.op_type for part in parts if part.ep_name != device_module.CUDA for node in part.get_nodes())
    return left, b"Memcpy" in optimized.read_bytes()


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("graph", STAGES)
def test_networks_and_their_samplers_run_on_the_gpu(
    stub: Stub, bundles: dict[str, Path], tmp_path: Path, name: str, graph: str
) -> None:
    for part in (None, *(part for stage, part in SAMPLERS if stage == graph)):
        left, copies = placement(bundles[name] / graph_file(graph, part), tmp_path / "optimized.onnx")
        shapes = graph == "fine" or (graph in CAUSAL_STAGES and name not in STATIC and not part)
        assert left <= (Counter(ON_CPU) if shapes else Counter())
        assert not copies


@pytest.mark.parametrize("rows", [1, 2, 8])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("name", BUNDLES)
def test_a_block_of_steps(stub: Stub, bundles: dict[str, Path], name: str, recorded: bool, rows: int) -> None:
    """What a block of steps launches, copies and waits for, plain and recorded."""
    gc.collect()
    before = stub.megabytes
    bark = Bark.load(bundles[name], device="cuda", provider_options={"enable_cuda_graph": str(int(recorded))})
    assert bark.device.captures is recorded
    stub.reset()
    loop, cache, sequences = begin_windows(bark, rows)
    assert not loop.step(cache, sequences)  # records
    assert stub.not_allowed_in_captures == ""
    with stub.in_order() as order:
        assert not loop.step(cache, sequences)
    calls, kernels = stub.calls, stub.kernels / BLOCK
    if recorded:
        assert (kernels, calls["cudaGraphLaunch"]) == (0, 2 * BLOCK)
        assert not [what for what in calls if "Capture" in what]
    else:
        assert 0 < kernels <= MOST_KERNELS[name]
    between = order[:-2]  # all but the wait for the block and the copy of its tokens
    assert between[0] == "cudaMemcpy(sync) H2D"  # with a wait of its own
    assert order[-2].startswith("cudaStreamSynchronize 0x")
    assert order[-1] == "cudaMemcpy(sync) D2H"
    assert not [what for what in between[2:] if "sync" in what.lower() and "Async" not in what]
    assert not [what for what in between if "H2D" in what or "D2H" in what][1:]
    assert not [what for what in calls if "Malloc" in what]
    assert stub.megabytes - before < MOST_MEGABYTES


@pytest.mark.parametrize("name", STATIC)
def test_attention_is_flash_attention(
    bundles: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In prefills of any length and in decode steps; cuDNN's attention would make a plan for every length."""
    monkeypatch.setenv("ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO", "1")
    decoder = Bark.load(bundles[name], device="cuda")._networks.coarse
    cache = decoder.new_cache()
    for positions in (257, 300, 887):
        decoder.prefill(cache, np.arange(positions)[::-1])
    decoder.decode_step(cache, [5])
    kernels = re.findall(r"Operator=GroupQueryAttention .*SdpaKernel=(\w+)", capfd.readouterr().out)
    assert kernels == ["FLASH_ATTENTION"] * 4 * decoder.size.layers


@pytest.mark.parametrize("name", BUNDLES)
def test_steps_are_recorded_by_default_in_the_static_layout(bundles: dict[str, Path], stub: Stub, name: str) -> None:
    assert Bark.load(bundles[name], device="cuda").device.captures is (name in STATIC)


def test_nothing_is_recorded_twice(stub: Stub, bundles: dict[str, Path]) -> None:
    """Whoever speaks the second time, and in whatever thread, replays, and takes no more memory."""
    bark = Bark.load(bundles["w4a16"], device="cuda")
    requests = [Request("hello", seed=seed, options=HALF_A_SECOND) for seed in range(5)]

    def in_a_thread() -> None:
        thread = threading.Thread(target=lambda: bark.generate("hello", options=HALF_A_SECOND, seed=1))
        thread.start()
        thread.join()

    def all_ways() -> None:
        bark.generate("hello", options=HALF_A_SECOND, seed=1)
        bark.generate_batch(requests, slots=3)
        gc.collect()  # the engine leaves its caches
        assert len(list(bark.stream("hello", options=HALF_A_SECOND, seed=1))) > 1
        in_a_thread()

    stub.reset()
    all_ways()
    assert stub.not_allowed_in_captures == ""
    # Three rows and two of the batch, one of `generate`, one of the stream; two graphs in each of two stages.
    assert stub.calls["cudaGraphInstantiate"] == 4 * 2 * 2 * BLOCK
    before = stub.megabytes
    for _ in range(2):
        stub.reset()
        all_ways()
        calls = stub.calls
        assert calls["cudaGraphLaunch"] > 0
        assert not [what for what in calls if "Capture" in what or "Malloc" in what]
    assert stub.megabytes == before


def test_a_stream_waits_once_for_each_block(stub: Stub, bundles: dict[str, Path]) -> None:
    bark = Bark.load(bundles["fp16"], device="cuda")
    list(bark.stream("hello", options=HALF_A_SECOND, seed=1))
    with stub.in_order() as order:
        list(bark.stream("hello", options=HALF_A_SECOND, seed=1))
    launched = 0
    for what in order:
        launched += what == "cudaGraphLaunch"
        if what.startswith("cudaStreamSynchronize 0x"):
            assert launched in (0, 2, 4, 6, 8, 10, 12, 14, 16)  # a decoder and a sampler for each step of a block
            launched = 0
    assert stub.calls["cudaGraphLaunch"] >= 8 * BLOCK


def test_the_codec_runs_at_one_length(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams, whole utterances and batches: cuDNN plans convolutions anew when the length changes."""
    bind, lengths = Graph.bind, set()

    def watched(graph: Graph, inputs: Memories, outputs: Memories, *, repeated: bool = False) -> Binding | NoRun:
        if WAVEFORM in outputs:
            lengths.add(outputs[WAVEFORM].shape)
        return bind(graph, inputs, outputs, repeated=repeated)

    monkeypatch.setattr(Graph, "bind", watched)
    bark = Bark.load(bundles["fp16"], device="cuda")
    assert len(list(bark.stream("hello", options=HALF_A_SECOND, seed=1))) > 2
    bark.generate("hello", options=GenerationOptions(max_seconds=1.5), seed=1)
    bark.generate_batch([Request("hello", seed=seed, options=HALF_A_SECOND) for seed in range(3)])
    assert lengths == {(1, RUN_FRAMES * bark.vocabulary.frame_samples)}


@pytest.mark.parametrize(("rows", "plain", "sorting"), [(1, 47, 72), (32, 50, 450)])
def test_kernels_of_the_sampler(stub: Stub, bundles: dict[str, Path], rows: int, plain: int, sorting: int) -> None:
    """Of semantic tokens; with top-k or top-p it sorts. docs/devices.md has these numbers."""
    bark = Bark.load(bundles["fp16"], device="cuda", provider_options={"enable_cuda_graph": "0"})
    loop = bark._loops.semantic
    blocks = loop._blocks_of(loop.new_cache(rows))
    for top_k_top_p, most in ((False, plain), (True, sorting)):
        graph = bark._networks.sampler("semantic", top_k_top_p=top_k_top_p)
        first, second, *_ = _bind_samplers(graph, blocks, range(rows))
        first.run()
        stub.reset()
        second.run()
        assert 0 < stub.kernels <= most


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("fused", [False, True])
def test_products_of_weight_only_bundles(stub: Stub, tmp_path: Path, fused: bool, bits: int) -> None:
    """With many rows whole matrices are dequantised, but not with `ep.cuda.fpa_intb_gemm`. docs/devices.md says so."""
    width, block = 768, 32
    weights = [
        numpy_helper.from_array(np.zeros((width, width // block, block * bits // 8), np.uint8), "weights"),
        numpy_helper.from_array(np.ones(width * width // block, np.float16), "scales"),
    ]
    product = helper.make_node(
        "MatMulNBits", ["x", "weights", "scales"], ["y"], domain="com.microsoft", K=width, N=width, bits=bits,
        block_size=block,
    )  # fmt: skip
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["rows", 1, width]) for name in "xy"]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([product], "product", infos[:1], infos[1:], weights)
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "product.onnx")
    device = Device("cuda", 1, options={"ep.cuda.fpa_intb_gemm": "1"} if fused else {}, samples=True, captures=True)
    device = device.with_stream()
    shapes = dict.fromkeys("xy", (np.float16, (None, 1, width)))
    loaded = Graph(tmp_path / "product.onnx", device, {"x": shapes["x"]}, {"y": shapes["y"]}, repeated=True)
    dequantised = []
    for rows in (1, 8, 32):
        x, y = (Memory.zeros((rows, 1, width), np.float16, device) for _ in "xy")
        loaded.bind({"x": x}, {"y": y}).run()
        stub.reset()
        loaded.bind({"x": x}, {"y": y}).run()
        if any("Dequantize" in what for what in stub.calls):
            dequantised.append(rows)
        stub.reset()
        loaded.bind({"x": x}, {"y": y}, repeated=True).run()
        assert stub.not_allowed_in_captures == ""
        assert stub.calls["cudaGraphLaunch"] == 1
    assert dequantised == ([] if fused else [32] if bits == 4 else [8, 32])


@pytest.mark.parametrize("name", BUNDLES)
def test_fine_passes(stub: Stub, bundles: dict[str, Path], name: str) -> None:
    """Of six passes, the host reads the codes of the last one only."""
    bark = Bark.load(bundles[name], device="cuda")
    vocabulary, fine = bark.vocabulary, bark._loops.fine
    codes = np.zeros((vocabulary.fine_codebooks, vocabulary.fine_window), np.int64)
    window = FineWindow(codes, 0, np.zeros((vocabulary.fine_window, vocabulary.fine_codebooks)), 0.5)
    fine.fill([window], 2)
    with stub.in_order() as order:
        assert not fine.fill([window], 2)
    assert stub.calls["cudaMemcpy(sync) D2H"] == 1
    assert [what for what in order if what.startswith("cudaStreamSynchronize 0x")] == order[-2:-1]
