"""What the published sizes launch and how much device memory they take, over the stub libraries.

The weights are zeros, in files with holes: nothing here depends on them. A graph of the large size takes a minute to
trace.
"""

import gc
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bark_onnx import Bark
from bark_onnx.graphs.device import Device
from bark_onnx.model.bundle import Bundle
from bark_onnx.sampling.device import BLOCK
from bark_onnx_bench.checkpoints.configuration import SIZES
from bark_onnx_export.graphs.networks import causal_graph, fine_graph
from bark_onnx_export.graphs.skip_norm import fuse_skip_norms
from bark_onnx_export.graphs.tracing import export_graph
from bark_onnx_export.modules.causal import CausalModule
from bark_onnx_export.modules.fine import FineModule
from generated import export
from stub_cuda import Stub, begin_windows, needs_stub, take_valid_tokens

pytestmark = needs_stub

# Kernels of a coarse step and its sampler without matrix products, and matrix products of the step.
MOST_KERNELS = {"small": 125, "large": 197}
MATRIX_PRODUCTS = {"small": 4 * 12 + 1, "large": 4 * 24 + 1}
# Device memory in megabytes with the coarse KV cache of one row, and with eight more rows. ONNX Runtime's arena takes
# powers of two for the KV cache.
MOST_MEGABYTES = {"small": (860, 1400), "large": (2350, 3450)}


@pytest.fixture(scope="module", params=["small", "large"])
def published(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Bundle]:
    """An fp16 bundle of a published size: a small bundle with other transformers."""
    name: str = request.param
    own = SIZES[name]
    directory = tmp_path_factory.mktemp(name)
    manifest = Bundle.open(export(checkpoint, directory / "from", "fp16")).manifest
    shutil.copytree(directory / "from", directory / "bundle")
    sizes, vocabulary = manifest.sizes, manifest.vocabulary
    for stage in ("semantic", "coarse", "fine"):
        given = getattr(sizes, stage)
        size = replace(given, layers=own.layers, heads=own.heads, width=own.width)
        sizes = replace(sizes, **{stage: size})
        with torch.device("meta"):
            module: CausalModule | FineModule
            if stage == "fine":
                books, entries = vocabulary.fine_codebooks, vocabulary.codebook_size
                module = FineModule(size, books, entries, bias=False, kv_layout="static")
            else:
                choices = vocabulary.semantic_choices if stage == "semantic" else vocabulary.coarse_choices
                module = CausalModule(size, range(choices), bias=False, kv_layout="static")
        for parent in module.modules():
            for key, weight in [*parent._parameters.items()]:
                if weight is not None:
                    zeros = torch.zeros(weight.shape, dtype=torch.float16)
                    parent._parameters[key] = torch.nn.Parameter(zeros, requires_grad=False)
        path = directory / "bundle" / f"{stage}.onnx"
        for old in path.parent.glob(f"{stage}.onnx*"):
            old.unlink()
        export_graph(fine_graph(module) if isinstance(module, FineModule) else causal_graph(module, size), path)
        fuse_skip_norms(path)
        weights = path.with_name(f"{path.name}.data")
        length = weights.stat().st_size
        os.truncate(weights, 0)
        os.truncate(weights, length)
    return name, Bundle(directory / "bundle", replace(manifest, sizes=sizes))


def test_a_step_of_a_published_size(published: tuple[str, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    take_valid_tokens(monkeypatch)
    (name, bundle), stub = published, Stub()
    gc.collect()
    before = stub.megabytes
    bark = Bark(bundle, Device.choose("cuda", options={"enable_cuda_graph": "0"}))
    for rows, most in zip((1, 8), MOST_MEGABYTES[name], strict=True):
        loop, cache, sequences = begin_windows(bark, rows)
        assert not loop.step(cache, sequences)
        stub.reset()
        assert not loop.step(cache, sequences)
        kernels, calls = stub.kernels / BLOCK, stub.calls
        assert 0 < kernels <= MOST_KERNELS[name] + 3 * (rows > 1)
        assert calls["cublasGemmEx"] == MATRIX_PRODUCTS[name] * BLOCK
        assert not [what for what in calls if "Malloc" in what]
        assert stub.megabytes - before < most


def test_a_recorded_step_of_a_published_size(published: tuple[str, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    take_valid_tokens(monkeypatch)
    (name, bundle), stub = published, Stub()
    gc.collect()
    before = stub.megabytes
    bark = Bark(bundle, Device.choose("cuda"))
    loop, cache, sequences = begin_windows(bark, 1)
    stub.reset()
    assert not loop.step(cache, sequences)
    assert stub.not_allowed_in_captures == ""
    stub.reset()
    assert not loop.step(cache, sequences)
    assert (stub.kernels, stub.calls["cudaGraphLaunch"]) == (0, 2 * BLOCK)
    assert stub.megabytes - before < MOST_MEGABYTES[name][1]
