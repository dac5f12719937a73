"""ONNX Runtime's real CUDA provider over stub libraries: where nodes run, what a block of steps launches and waits for.

The stubs (runtime, cuBLAS, cuDNN, driver) make the provider start on a machine without a GPU; kernels compute nothing.
`make test-cuda-stub CUDA_STUB=DIR` runs these tests: DIR/lib has the libraries, of which libcudart.so.13 counts calls
(`fake_counts` and the other functions of `Stub`). No figure here is a time.
"""

import ctypes
import gc
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions
from bark_onnx.graphs import device as device_module
from bark_onnx.sampling.device import BLOCK, Blocks, DeviceLoop
from bark_onnx.sampling.sequence import Errors, FineWindow, TokenSequence
from bark_onnx.stages.coarse import CoarseSequence
from generated import export

VARIABLE = "BARK_ONNX_CUDA_STUB"
pytestmark = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} does not name a directory with stub CUDA libraries"
)

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
# Kernels of a decode step of two layers and of its sampler, without matrix products: seen 67 to 82, at 1 to 8 rows.
MOST_KERNELS = {"fp16": 72, "bf16": 72, "w8a16": 80, "w4a16": 80, "fp16-portable": 85, "fp32-portable": 85}
MOST_MEGABYTES = 64  # of device memory for a model of two layers and eight rows
SMALL_COPIES = 12  # from the host for a block: ids, positions, lengths, history, and the sampler's rules


class Stub:
    """The counters of the stub runtime."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcudart.so.13")
        self._library.fake_counts.restype = self._library.fake_capbad.restype = ctypes.c_char_p
        self._library.fake_live.restype = ctypes.c_size_t

    def reset(self) -> None:
        self._library.fake_reset()

    @property
    def calls(self) -> Counter[str]:
        """The calls since the last reset; kernels begin with `k:`."""
        lines = (line.split("\t", 1) for line in self._library.fake_counts().decode().splitlines())
        return Counter({what: int(count) for count, what in lines})

    @property
    def not_allowed_in_captures(self) -> str:
        found: str = self._library.fake_capbad().decode()
        return found

    @property
    def megabytes(self) -> float:
        """Device memory in use."""
        live: int = self._library.fake_live()
        return live / 1e6


@pytest.fixture(scope="module")
def stub() -> Stub:
    assert device_module.why_no_gpu() is None
    return Stub()


@pytest.fixture(scope="module")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("stub")
    return {name: export(checkpoint, directory / name, *way) for name, way in BUNDLES.items()}


@pytest.fixture(autouse=True)
def valid_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences take tokens of their own, since the ids that kernels would sample are zeros."""

    def take(_: DeviceLoop, blocks: Blocks, sequences: dict[int, TokenSequence], count: int) -> Errors:
        blocks.sampled.pull()
        for sequence in sequences.values():
            for _step in range(count):
                sequence.take(sequence.rule.codebook * sequence.rule.choices)
        return {}

    monkeypatch.setattr(DeviceLoop, "_take", take)


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
@pytest.mark.parametrize("graph", ["semantic", "coarse", "fine"])
def test_networks_and_their_samplers_run_on_the_gpu(
    stub: Stub, bundles: dict[str, Path], tmp_path: Path, name: str, graph: str
) -> None:
    for part in ("", ".sampler", *([".top_k_top_p"] if graph != "fine" else [])):
        left, copies = placement(bundles[name] / f"{graph}{part}.onnx", tmp_path / "optimized.onnx")
        shapes = graph == "fine" or (name not in STATIC and not part)
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
    loop, sequences = bark._loops.coarse, {}
    cache = loop.new_cache(rows)
    stub.reset()
    for row in range(rows):
        random = np.random.default_rng(row)
        sequence = sequences[row] = CoarseSequence(None, GenerationOptions(), bark.vocabulary, 1024, random)
        sequence.feed(list(range(100)), ended=True)
        assert not loop.begin(cache, sequence, sequence.begin_window(), row=row)
    assert not loop.step(cache, sequences)  # records
    assert stub.not_allowed_in_captures == ""
    stub.reset()
    assert not loop.step(cache, sequences)
    calls = stub.calls
    kernels = sum(count for what, count in calls.items() if what.startswith("k:")) / BLOCK
    if recorded:
        assert (kernels, calls["cudaGraphLaunch"]) == (0, 2 * BLOCK)
        assert not [what for what in calls if "Capture" in what]
    else:
        assert 0 < kernels <= MOST_KERNELS[name]
    assert calls["cudaMemcpy(sync) D2H"] == 1  # the tokens
    assert calls["cudaMemcpy(sync) H2D"] <= SMALL_COPIES
    assert not [what for what in calls if "Malloc" in what]
    assert stub.megabytes - before < MOST_MEGABYTES


@pytest.mark.parametrize(("rows", "plain", "sorting"), [(1, 47, 72), (32, 50, 450)])
def test_kernels_of_the_sampler(stub: Stub, bundles: dict[str, Path], rows: int, plain: int, sorting: int) -> None:
    """Of semantic tokens; with top-k or top-p it sorts. docs/devices.md has these numbers."""
    loop = Bark.load(bundles["fp16"], device="cuda")._loops.semantic
    blocks = loop._blocks_of(loop.new_cache(rows))
    for top_k_top_p, most in ((False, plain), (True, sorting)):
        first, second, *_ = loop._samplers(blocks, range(rows), top_k_top_p=top_k_top_p)
        first.run()
        stub.reset()
        second.run()
        assert 0 < sum(count for what, count in stub.calls.items() if what.startswith("k:")) <= most


@pytest.mark.parametrize("name", BUNDLES)
def test_fine_passes(stub: Stub, bundles: dict[str, Path], name: str) -> None:
    """Of six passes, the host reads the codes of the last one only."""
    bark = Bark.load(bundles[name], device="cuda")
    vocabulary, fine = bark.vocabulary, bark._loops.fine
    codes = np.zeros((vocabulary.fine_codebooks, vocabulary.fine_window), np.int64)
    window = FineWindow(codes, 0, np.zeros((vocabulary.fine_window, vocabulary.fine_codebooks)), 0.5)
    fine.fill([window], 2)
    stub.reset()
    assert not fine.fill([window], 2)
    assert stub.calls["cudaMemcpy(sync) D2H"] == 1
