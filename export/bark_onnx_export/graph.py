"""Modules to ONNX files: the one `torch.onnx.export` call, and its arguments for each network."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from bark_onnx.errors import BarkError, one_line
from bark_onnx.graphs.codec import CODEC_INPUTS, WAVEFORM, codec_state_names
from bark_onnx.graphs.decoder import CAUSAL_INPUTS, LOGITS, PAST, PRESENT, cache_names
from bark_onnx.graphs.fine import FINE_INPUTS
from bark_onnx.graphs.sampler import (
    FINE_SAMPLER_INPUTS,
    SAMPLED,
    SAMPLER_DTYPES,
    SAMPLER_INPUTS,
    TOP_K_TOP_P_INPUTS,
)
from bark_onnx.model.sizes import TransformerSize

from .causal import CacheQuantizer, CausalModule
from .codec import CodecModule
from .fine import FineModule
from .sampler import FineSampler, Sampler

LARGE = 32 << 20  # bytes; larger weights go to a file beside the graph, which can be mapped into memory


@dataclass(frozen=True)
class Tracing:
    """A module, and the arguments to trace it with.

    Args:
        arguments: example inputs. A free axis must be at least 2 long, since torch would fix the axis otherwise.
        free_axes: for each argument, the axes whose lengths vary at run time.
    """

    module: nn.Module
    arguments: tuple[Tensor, ...]
    free_axes: tuple[Any, ...]
    input_names: list[str]
    output_names: list[str]


def causal_graph(module: CausalModule, size: TransformerSize) -> Tracing:
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
    """The finished graph that quantises the KV cache of a prefill for decode steps."""
    past = tuple(torch.zeros(2, size.heads, size.context, size.head_size) for _ in range(2 * size.layers))
    rows = (tuple({0: Dim("batch")} for _ in past),)
    names = (cache_names(prefix, size.layers) for prefix in (PAST, PRESENT))
    return _whole(Tracing(module, past, rows, *names))


def fine_graph(module: FineModule) -> Tracing:
    codes = torch.zeros(2, 16, len(module.token_embeddings), dtype=torch.int64)
    free_axes: tuple[Any, ...] = ({0: Dim("batch"), 1: Dim("frames", max=module.position_embedding.num_embeddings)}, {})
    return Tracing(module, (codes, torch.tensor(2)), free_axes, list(FINE_INPUTS), [LOGITS])


def codec_graph(module: CodecModule) -> Tracing:
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
    """The finished graph that samples a causal decoder's logits. It has no weights.

    Args:
        choices: logits of a row.
        first_id: the id of the first of them.
        top_k_top_p: whether the graph has top-k and top-p.
    """
    names = SAMPLER_INPUTS + (TOP_K_TOP_P_INPUTS if top_k_top_p else ())
    dtypes = [torch.float64 if dtype is np.float64 else torch.int64 for dtype in SAMPLER_DTYPES[: len(names)]]
    # Separate tensors, since torch would make one input of a tensor that is passed twice.
    arguments = (torch.zeros(2, choices), *(torch.ones(2, dtype=dtype) for dtype in dtypes))
    batch = Dim("batch")
    module = Sampler(choices, first_id, top_k_top_p=top_k_top_p)
    return _whole(Tracing(module, arguments, tuple({0: batch} for _ in arguments), [LOGITS, *names], [SAMPLED]))


@cache
def fine_sampler_graph(codebooks: int, codebook_size: int) -> bytes:
    """The finished graph that samples the fine model's logits."""
    uniforms, temperatures = torch.ones(2, 16, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    codes = torch.zeros(2, 16, codebooks, dtype=torch.int64)
    fills = torch.ones(2, dtype=torch.int64)
    arguments = (torch.zeros(2, 16, codebook_size), codes, torch.tensor(2), fills, uniforms, temperatures)
    rows = {0: Dim("batch")}
    frames = rows | {1: Dim("frames")}
    free_axes: tuple[Any, ...] = (frames, frames, {}, rows, frames, rows)
    return _whole(Tracing(FineSampler(), arguments, free_axes, [LOGITS, *FINE_SAMPLER_INPUTS], [SAMPLED]))


def _whole(tracing: Tracing) -> bytes:
    content: bytes = _traced(tracing).model_proto.SerializeToString(deterministic=True)
    return content


def export_graph(tracing: Tracing, path: Path) -> None:
    """Trace a module and write its graph; the weights go to a file beside it."""
    _traced(tracing).save(path, external_data=True)


def _traced(tracing: Tracing) -> torch.onnx.ONNXProgram:
    """Trace a module, and remove everything about this machine from the graph (torch records stack traces)."""
    with quiet():
        program = torch.onnx.export(
            tracing.module,
            tracing.arguments,
            dynamo=True,
            dynamic_shapes=tracing.free_axes,
            input_names=tracing.input_names,
            output_names=tracing.output_names,
            verbose=False,
        )
    assert program is not None  # only the old exporter returns None
    model = program.model
    model.producer_name, model.producer_version = "bark-onnx", None
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    return program


def check_portable(path: Path) -> None:
    """Raise BarkError if a graph has an operator that is not standard ONNX, or if the ONNX checker refuses it."""
    foreign = {
        f"{node.domain}::{node.op_type}" for node in onnx.load(path, load_external_data=False).graph.node if node.domain
    }
    if foreign:
        raise BarkError(f"{path.name} is not portable: it has {', '.join(sorted(foreign))}")
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BarkError(f"{path.name} is not valid ONNX: {one_line(str(error))}") from None


def save_model(model: onnx.ModelProto, path: Path, beside: Path | None = None) -> None:
    """Write a model; large weights go to `NAME.onnx.data` beside it.

    Args:
        beside: a model in the same directory. Tensors in its external data are not written again.
    """
    model.ClearField("metadata_props")  # quantizers leave their names there
    large = model.ByteSize() > LARGE
    if beside is not None:
        _share(model, beside)
    onnx.save_model(
        model,
        path,
        save_as_external_data=large,
        location=f"{path.name}.data",
        size_threshold=1024,
    )


def _share(model: onnx.ModelProto, beside: Path) -> None:
    """Make tensors of `model` refer to another model's external data where the two are equal."""
    theirs = onnx.load(beside, load_external_data=False).graph.initializer
    external = {tensor.name: tensor for tensor in theirs if tensor.data_location == onnx.TensorProto.EXTERNAL}
    for tensor in model.graph.initializer:
        other = external.get(tensor.name)
        if other is None or (other.data_type, other.dims) != (tensor.data_type, tensor.dims):
            continue
        entries = {entry.key: entry.value for entry in other.external_data}
        with (beside.parent / entries["location"]).open("rb") as file:
            file.seek(int(entries["offset"]))
            if file.read(int(entries["length"])) == tensor.raw_data:
                tensor.CopyFrom(other)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter and the quantizers, which report their own internals."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "onnxruntime.quantization", None)  # None: the root logger
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
