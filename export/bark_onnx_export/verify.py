"""Compare a bundle's graphs in ONNX Runtime with torch, on the tokens of voice presets."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import onnx
from onnx import numpy_helper

from bark_onnx.checks.excerpts import find_voices, measurable
from bark_onnx.checks.quality import TOKENS, Source, StageQuality, measure
from bark_onnx.errors import BarkError
from bark_onnx.files import temporary_directory
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES, graph_file

from .checkpoint import Checkpoint
from .graphs.onnx_files import save_model
from .modules.reference import TorchCausal, TorchCodec, TorchFine, reference_network
from .quantization.precision import precisions


def verify(
    checkpoint: Checkpoint,
    bundle: Bundle,
    names: Sequence[str | Path] = (),
    tokens: int = TOKENS,
    limits: Mapping[str, float] | None = None,
    *,
    progress: bool = False,
) -> Iterator[StageQuality]:
    """Measure what the precision of each graph costs, against torch with the checkpoint's weights in fp32.

    ONNX Runtime has no matrix products in bfloat16 on CPUs. bf16 graphs are therefore run in fp32, with their own
    weights; the figures do not include the rounding of activations.

    Args:
        names: voices as for `find_voices`: of the bundle, or `.npz` files.
        tokens, limits, progress: as for `checks.quality.measure`.

    Raises:
        BarkError: the bundle is of another model, a graph cannot be run, or a voice cannot be used.
    """
    with _runnable(bundle) as runnable:
        voices = find_voices(bundle if names or measurable(bundle) else runnable, names, tokens)
        reference = Source(checkpoint.source, lambda stage: _reference(checkpoint, bundle, stage))
        yield from measure(
            reference, Source.of(runnable), bundle.manifest, list(voices.values()), tokens, limits, progress=progress
        )


def _reference(checkpoint: Checkpoint, bundle: Bundle, stage: str) -> TorchCausal | TorchFine | TorchCodec:
    manifest, weights = bundle.manifest, checkpoint.load(stage)
    if (checkpoint.vocabulary, weights.size) != (manifest.vocabulary, getattr(manifest.sizes, stage)):
        raise BarkError(f"{checkpoint.source} and {bundle.directory} are different models: the {stage} sizes differ")
    return reference_network(stage, weights, manifest.vocabulary)


@contextmanager
def _runnable(bundle: Bundle) -> Iterator[Bundle]:
    """Yield the bundle, or for bf16 a temporary one with graphs that a CPU can run."""
    if bundle.manifest.precision != "bf16":
        yield bundle
        return
    with temporary_directory(Path(gettempdir()) / "verify") as directory:
        for stage in STAGES:
            _widen(bundle.graph(stage), directory / graph_file(stage))
        yield Bundle(directory, replace(bundle.manifest, precisions=precisions("fp32", "static")))


def _widen(source: Path, target: Path) -> None:
    """Write a graph that is converted from bfloat16 to fp32."""
    model = onnx.load(source)
    graph, bf16, fp32 = model.graph, onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    for tensor in graph.initializer:
        if tensor.data_type == bf16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == bf16:
            value.type.tensor_type.elem_type = fp32
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == bf16:
                attribute.i = fp32
    save_model(model, target)
