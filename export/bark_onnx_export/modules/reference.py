"""Torch modules behind the methods of the runtime's networks, so that the two can be compared."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from bark_onnx.arrays import FloatArray, IntArray
from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.vocabulary import Vocabulary

from ..weights.weights import Weights
from .attention import whole_attention
from .block import Block
from .build import build_module
from .causal import CausalModule
from .codec import CodecModule
from .fine import FineModule


@dataclass(frozen=True)
class TorchCausal:
    """A causal transformer with the method of `bark_onnx.checks.excerpts.CausalPredictor`."""

    module: CausalModule
    no_history_id: int

    def predict(self, prompt: IntArray, history: IntArray | None, ids: IntArray) -> FloatArray:
        """Return the logits [n, V] of each of the ids [n], all in one run."""
        inputs = np.append(prompt, ids[:-1])
        added = np.full_like(inputs, self.no_history_id)
        if history is not None:
            added[: len(prompt)] = history
        tensors = (torch.from_numpy(x.astype(np.int64))[None] for x in (inputs, added, np.arange(len(inputs))))
        with torch.inference_mode():
            x = self.module.embed(*tensors)
            for block in cast(list[Block], self.module.blocks):
                x = block.finish(x, whole_attention(block.qkv(x), self.module.heads, causal=True))
            return self.module.logits(x[:, len(prompt) - 1 :])[0].numpy()


@dataclass(frozen=True)
class TorchFine:
    """A fine model with the method of `bark_onnx.checks.excerpts.FinePredictor`."""

    module: FineModule

    def logits(self, codes: IntArray, codebook: int) -> FloatArray:
        with torch.inference_mode():
            return self.module(torch.from_numpy(codes.transpose(0, 2, 1)), torch.tensor(codebook)).numpy()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TorchCodec:
    """A codec with the method of `bark_onnx.checks.excerpts.WaveformDecoder`."""

    module: CodecModule

    def decode(self, codes: IntArray) -> FloatArray:
        with torch.inference_mode():
            state = self.module.new_state(1)
            waveforms, *_ = self.module(torch.tensor(codes)[None], torch.tensor([True]), *state)
        return waveforms[0].numpy()  # type: ignore[no-any-return]


def reference_network(stage: str, weights: Weights, vocabulary: Vocabulary) -> TorchCausal | TorchFine | TorchCodec:
    """Return the network of a stage in torch, in fp32."""
    module = build_module(stage, weights, vocabulary)
    if isinstance(module, CausalModule):
        assert isinstance(weights.size, TransformerSize)
        return TorchCausal(module, weights.size.no_history_id)
    return TorchFine(module) if isinstance(module, FineModule) else TorchCodec(module)
