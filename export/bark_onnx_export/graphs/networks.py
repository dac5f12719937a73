"""The graph of each network: example inputs, free axes, and the names of inputs and outputs."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from bark_onnx.graphs.causal_graph import CAUSAL_INPUTS, LOGITS, PAST, PRESENT, cache_names
from bark_onnx.graphs.codec import CODEC_INPUTS, WAVEFORM, codec_state_names
from bark_onnx.graphs.fine import FINE_INPUTS
from bark_onnx.graphs.sampler import (
    FINE_SAMPLER_INPUTS,
    SAMPLED,
    SAMPLER_DTYPES,
    SAMPLER_INPUTS,
    TOP_K_TOP_P_INPUTS,
)
from bark_onnx.model.sizes import TransformerSize

from ..modules.causal import CacheQuantizer, CausalModule
from ..modules.codec import CodecModule
from ..modules.fine import FineModule
from ..modules.sampler import FineSampler, Sampler
from .tracing import Tracing, graph_bytes


def causal_graph(module: CausalModule, size: TransformerSize) -> Tracing:
    """The graph of a causal transformer, for prefills and decode steps."""
    batch, length = Dim("batch"), Dim("length")
    rows = {0: batch, 1: length}
    dtype = module.norm.weight.dtype
    cache = [torch.zeros(2, size.heads, size.context, size.head_size, dtype=dtype) for _ in range(2 * size.layers)]
    ids = [torch.zeros(2, 3, dtype=torch.int64) for _ in range(3)]
    return Tracing(
        module,
        arguments=(*ids, torch.zeros(2, dtype=torch.int32), torch.tensor(3, dtype=torch.int32), *cache),
        free_axes=(rows, rows, rows, {0: batch}, {}, tuple({0: batch} for _ in cache)),
        input_names=[*CAUSAL_INPUTS, *cache_names(PAST, size.layers)],
        output_names=[LOGITS, *cache_names(PRESENT, size.layers)],
    )


def cache_quantizer_graph(module: CacheQuantizer, size: TransformerSize) -> bytes:
    """Return the ONNX graph that quantises the KV cache between a prefill and the decode steps."""
    past = tuple(torch.zeros(2, size.heads, size.context, size.head_size) for _ in range(2 * size.layers))
    rows = (tuple({0: Dim("batch")} for _ in past),)
    names = (cache_names(prefix, len(past) // 2) for prefix in (PAST, PRESENT))
    return graph_bytes(Tracing(module, past, rows, *names))


def fine_graph(module: FineModule) -> Tracing:
    """The graph of the fine model."""
    codes = torch.zeros(2, 16, len(module.token_embeddings), dtype=torch.int64)
    free_axes: tuple[Any, ...] = ({0: Dim("batch"), 1: Dim("frames", max=module.position_embedding.num_embeddings)}, {})
    return Tracing(module, (codes, torch.tensor(2)), free_axes, list(FINE_INPUTS), [LOGITS])


def codec_graph(module: CodecModule) -> Tracing:
    """The graph of the codec, for chunks and for whole utterances."""
    batch, size = Dim("batch"), module.size
    codes = torch.zeros(2, size.codebooks, 16, dtype=torch.int64)
    past = module.new_state(2)
    return Tracing(
        module,
        arguments=(codes, torch.tensor([True, False]), *past),
        free_axes=({0: batch, 2: Dim("frames")}, {0: batch}, tuple({0: batch} for _ in past)),
        input_names=[*CODEC_INPUTS, *codec_state_names(PAST, size)],
        output_names=[WAVEFORM, *codec_state_names(PRESENT, size)],
    )


@cache
def sampler_graph(choices: int, first_id: int, *, top_k_top_p: bool) -> bytes:
    """Return the ONNX graph that samples a causal transformer's logits. It has no weights.

    Args:
        choices: logits of a row.
        first_id: the id of the first logit.
        top_k_top_p: whether the graph has top-k and top-p.
    """
    names = SAMPLER_INPUTS + (TOP_K_TOP_P_INPUTS if top_k_top_p else ())
    dtypes = [torch.float64 if dtype is np.float64 else torch.int64 for dtype in SAMPLER_DTYPES[: len(names)]]
    # Separate tensors: a tensor that is passed twice would become one input.
    arguments = (torch.zeros(2, choices), *(torch.ones(2, dtype=dtype) for dtype in dtypes))
    batch = Dim("batch")
    module = Sampler(choices, first_id, top_k_top_p=top_k_top_p)
    return graph_bytes(Tracing(module, arguments, tuple({0: batch} for _ in arguments), [LOGITS, *names], [SAMPLED]))


@cache
def fine_sampler_graph(codebooks: int, codebook_size: int) -> bytes:
    """Return the ONNX graph that samples the fine model's logits. It has no weights."""
    uniforms, temperatures = torch.ones(2, 16, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    codes = torch.zeros(2, 16, codebooks, dtype=torch.int64)
    fills = torch.ones(2, dtype=torch.int64)
    arguments = (torch.zeros(2, 16, codebook_size), codes, torch.tensor(2), fills, uniforms, temperatures)
    rows = {0: Dim("batch")}
    frames = rows | {1: Dim("frames")}
    free_axes: tuple[Any, ...] = (frames, frames, {}, rows, frames, rows)
    return graph_bytes(Tracing(FineSampler(), arguments, free_axes, [LOGITS, *FINE_SAMPLER_INPUTS], [SAMPLED]))
