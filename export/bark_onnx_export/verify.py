"""Torch against ONNX Runtime: torch modules with the methods of the runtime's networks, to compare the two."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from bark_onnx.arrays import FloatArray, IntArray
from bark_onnx.checks.compare import CPU, GraphError, compare
from bark_onnx.errors import BarkError
from bark_onnx.files import temporary_directory
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import STAGES, Bundle, graph_file
from bark_onnx.model.sizes import TransformerSize

from .causal import CausalModule
from .checkpoint import Checkpoint
from .codec import CodecModule
from .fine import FineModule
from .graph import save_model
from .modules import build_module
from .quantize import precisions


@dataclass
class TorchCache:
    """Each layer's key and value, and the number of positions in them."""

    tensors: list[Tensor]
    length: int = 0


@dataclass(frozen=True)
class TorchCausal:
    module: CausalModule
    size: TransformerSize

    def new_cache(self) -> TorchCache:
        shape = (1, self.size.heads, self.size.context, self.size.head_size)
        return TorchCache([torch.zeros(shape) for _ in range(2 * self.size.layers)])

    def prefill(self, cache: TorchCache, input_ids: IntArray, history_ids: IntArray | None = None) -> FloatArray:
        history = np.full_like(input_ids, self.size.no_history_id) if history_ids is None else history_ids
        ids, history_tensor = torch.from_numpy(input_ids)[None], torch.from_numpy(history)[None]
        positions = torch.arange(cache.length, cache.length + len(input_ids))[None]
        cache.length += len(input_ids)
        last, total = torch.tensor([cache.length - 1], dtype=torch.int32), torch.tensor(cache.length, dtype=torch.int32)
        with torch.inference_mode():
            logits, *cache.tensors = self.module(ids, history_tensor, positions, last, total, *cache.tensors)
        return logits[0].numpy()  # type: ignore[no-any-return]

    def decode_step(self, cache: TorchCache, tokens: Sequence[int]) -> FloatArray:
        return self.prefill(cache, np.array(tokens))[None]


@dataclass(frozen=True)
class TorchFine:
    module: FineModule

    def logits(self, codes: IntArray, codebook: int) -> FloatArray:
        with torch.inference_mode():
            return self.module(torch.from_numpy(codes.transpose(0, 2, 1)), torch.tensor(codebook)).numpy()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TorchCodec:
    module: CodecModule

    def new_state(self, rows: int) -> list[Tensor]:
        return self.module.new_state(rows)

    def decode_chunk(self, state: list[Tensor], codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]:
        with torch.inference_mode():
            waveforms, *state[:] = self.module(torch.from_numpy(codes), torch.from_numpy(fresh), *state)
        return waveforms.numpy()  # type: ignore[no-any-return]


def verify_stage(checkpoint: Checkpoint, bundle: Bundle, stage: str) -> GraphError:
    """The error of one exported graph against torch with the checkpoint's weights in fp32.

    ONNX Runtime has no bfloat16 products on CPUs, so a bf16 graph is run in fp32 with its own weights. The error then
    does not include the rounding of activations.
    """
    manifest = bundle.manifest
    weights = checkpoint.load(stage)
    if (checkpoint.vocabulary, weights.size) != (manifest.vocabulary, getattr(manifest.sizes, stage)):
        raise BarkError(f"{checkpoint.source} and {bundle.directory} are different models: the {stage} sizes differ")
    module = build_module(stage, weights, manifest.vocabulary)
    if isinstance(module, CausalModule):
        assert isinstance(weights.size, TransformerSize)
        reference: TorchCausal | TorchFine | TorchCodec = TorchCausal(module, weights.size)
    elif isinstance(module, FineModule):
        reference = TorchFine(module)
    else:
        reference = TorchCodec(module)
    scratch = Path(gettempdir()) / "verify"
    with temporary_directory(scratch) if manifest.precision == "bf16" else nullcontext() as directory:
        runnable = bundle if directory is None else _widened(bundle, stage, directory)
        candidate = Networks(runnable, CPU).network(stage)
        return compare(stage, reference, candidate, manifest.vocabulary, manifest.precision)


def _widened(bundle: Bundle, stage: str, directory: Path) -> Bundle:
    """Write a bundle of one stage whose graph has fp32 in place of bfloat16."""
    model = onnx.load(bundle.graph(stage))
    graph, narrow, wide = model.graph, onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    for tensor in graph.initializer:
        if tensor.data_type == narrow:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == narrow:
            value.type.tensor_type.elem_type = wide
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == narrow:
                attribute.i = wide
    save_model(model, directory / graph_file(stage))
    return Bundle(directory, replace(bundle.manifest, precisions=precisions("fp32")))


def verify(checkpoint: Checkpoint, bundle: Bundle) -> list[GraphError]:
    """The errors of all graphs, one after another, so that one network is in memory at a time."""
    return [verify_stage(checkpoint, bundle, stage) for stage in STAGES]
