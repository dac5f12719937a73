"""Torch modules behind the methods of the runtime's networks, so that the two can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_onnx.arrays import FloatArray, IntArray
from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.vocabulary import Vocabulary

from ..weights.weights import Weights
from .build import build_module
from .causal import CausalModule
from .codec import CodecModule
from .fine import FineModule


@dataclass
class TorchCache:
    """The keys and values of each layer, and the number of positions in them."""

    tensors: list[Tensor]
    length: int = 0


@dataclass(frozen=True)
class TorchCausal:
    """A causal transformer with the methods of `bark_onnx.checks.compare.CausalNetwork`."""

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
    """A fine model with the methods of `bark_onnx.checks.compare.FineNetwork`."""

    module: FineModule

    def logits(self, codes: IntArray, codebook: int) -> FloatArray:
        with torch.inference_mode():
            return self.module(torch.from_numpy(codes.transpose(0, 2, 1)), torch.tensor(codebook)).numpy()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TorchCodec:
    """A codec with the methods of `bark_onnx.checks.compare.CodecNetwork`."""

    module: CodecModule

    def new_state(self, rows: int) -> list[Tensor]:
        return self.module.new_state(rows)

    def decode_chunk(self, state: list[Tensor], codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]:
        with torch.inference_mode():
            waveforms, *state[:] = self.module(torch.from_numpy(codes), torch.from_numpy(fresh), *state)
        return waveforms.numpy()  # type: ignore[no-any-return]


def reference_network(stage: str, weights: Weights, vocabulary: Vocabulary) -> TorchCausal | TorchFine | TorchCodec:
    """Return the network of a stage in torch, in fp32."""
    module = build_module(stage, weights, vocabulary)
    if isinstance(module, CausalModule):
        assert isinstance(weights.size, TransformerSize)
        return TorchCausal(module, weights.size)
    return TorchFine(module) if isinstance(module, FineModule) else TorchCodec(module)
