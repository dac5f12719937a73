"""Compare a bundle's graphs in ONNX Runtime with torch."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import onnx
from onnx import numpy_helper

from bark_onnx.checks.compare import CPU, GraphError, compare
from bark_onnx.errors import BarkError
from bark_onnx.files import temporary_directory
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import STAGES, Bundle, graph_file

from .checkpoint import Checkpoint
from .graphs.onnx_files import save_model
from .graphs.precision import precisions
from .modules.reference import reference_network


def verify_stage(checkpoint: Checkpoint, bundle: Bundle, stage: str) -> GraphError:
    """Return the error of one exported graph against torch with the checkpoint's weights in fp32.

    ONNX Runtime has no matrix products in bfloat16 on CPUs. A bf16 graph is therefore run in fp32, with its own
    weights; the error does not include the rounding of activations.

    Raises:
        BarkError: the bundle is of another model, or a graph cannot be run.
    """
    manifest = bundle.manifest
    weights = checkpoint.load(stage)
    if (checkpoint.vocabulary, weights.size) != (manifest.vocabulary, getattr(manifest.sizes, stage)):
        raise BarkError(f"{checkpoint.source} and {bundle.directory} are different models: the {stage} sizes differ")
    reference = reference_network(stage, weights, manifest.vocabulary)
    scratch = Path(gettempdir()) / "verify"
    with temporary_directory(scratch) if manifest.precision == "bf16" else nullcontext() as directory:
        runnable = bundle if directory is None else _widened(bundle, stage, directory)
        candidate = Networks(runnable, CPU).network(stage)
        return compare(stage, reference, candidate, manifest.vocabulary, manifest.precision)


def _widened(bundle: Bundle, stage: str, directory: Path) -> Bundle:
    """Write a bundle of one stage, with its graph converted from bfloat16 to fp32."""
    model = onnx.load(bundle.graph(stage))
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
    save_model(model, directory / graph_file(stage))
    return Bundle(directory, replace(bundle.manifest, precisions=precisions("fp32")))


def verify(checkpoint: Checkpoint, bundle: Bundle) -> list[GraphError]:
    """Return the error of each graph. One network is in memory at a time."""
    return [verify_stage(checkpoint, bundle, stage) for stage in STAGES]
