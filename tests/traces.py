"""Traces of modules that are used again, because tracing takes most of an export.

Two modules of one structure have the same graph with other weights. So the graph of the first is kept, and for the next
one its weights are replaced. A graph is used again only if that is right by construction: see `_Kept`.

As a program, this runs the `main` of a module with the traces of a directory:

    python traces.py DIRECTORY bark_onnx.__main__ export CHECKPOINT BUNDLE
"""

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch.onnx._internal.exporter._registration import ONNXRegistry

from bark_onnx_export.graphs import export, networks
from bark_onnx_export.graphs.tracing import Tracing, export_graph, graph_bytes

GRAPH, KEPT = "graph.onnx", "kept.json"
BITS = {torch.bfloat16: torch.int16}


@dataclass(frozen=True)
class _Kept:
    """What is known about a graph that was traced.

    Attributes:
        weights: for each initializer of the graph that is a weight of the module: the weight's name, and whether the
            initializer is the weight transposed.
        fixed: the weights from which something else was computed while tracing, or that are not in the graph. The graph
            is that of another module only if these are equal in both.
        fixed_hash: the hash of those.
    """

    weights: dict[str, tuple[str, bool]]
    fixed: list[str]
    fixed_hash: str


def remembering(directory: Path) -> Iterator[tuple[object, str, Callable[..., object]]]:
    """Yield what to replace to use the traces in a directory again: a module, a name in it, and a function.

    Several processes may use the directory at once.
    """

    def export_once(tracing: Tracing, path: Path) -> None:
        onnx.save(_graph(directory, tracing), path)

    def graph_bytes_once(tracing: Tracing) -> bytes:
        kept = directory / f"{_structure(tracing)}-{_hash(_tensors(tracing))}.onnx"
        if not kept.exists():
            _write(kept, graph_bytes(tracing))
        return kept.read_bytes()

    yield export, "export_graph", export_once
    yield networks, "graph_bytes", graph_bytes_once
    # torch makes its list of all operators anew for each trace, which is a tenth of the time of one.
    yield ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib))


def with_traces(directory: Path, program: str = "bark_onnx.__main__") -> list[str]:
    """The beginning of a command line that uses the traces in a directory again.

    Args:
        program: the module whose `main` runs.
    """
    return [sys.executable, __file__, str(directory), program]


def _graph(directory: Path, tracing: Tracing) -> onnx.ModelProto:
    """The graph of a module, traced or with the weights of the module in a graph that was traced before."""
    tensors, same = _tensors(tracing), directory / _structure(tracing)
    for path in same.glob(f"*/{KEPT}"):
        kept = _Kept(**json.loads(path.read_text()))
        if kept.fixed_hash == _hash({name: tensors[name] for name in kept.fixed}):
            return _with_weights(onnx.load(path.with_name(GRAPH)), kept, tensors)
    same.mkdir(exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=same))
    export_graph(tracing, new / GRAPH)
    model = onnx.load(new / GRAPH)
    _write(new / KEPT, json.dumps(asdict(_examine(model, tensors))).encode())
    return model


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def _with_weights(model: onnx.ModelProto, kept: _Kept, tensors: dict[str, NDArray[np.generic]]) -> onnx.ModelProto:
    for initializer in model.graph.initializer:
        if initializer.name in kept.weights:
            name, transposed = kept.weights[initializer.name]
            initializer.raw_data = (tensors[name].T if transposed else tensors[name]).tobytes()
    return model


def _examine(model: onnx.ModelProto, tensors: dict[str, NDArray[np.generic]]) -> _Kept:
    """Find the module's weights in its graph."""
    weights, unknown = {}, False
    for initializer in model.graph.initializer:
        found = _origins(initializer, tensors)
        if len(found) == 1:
            weights[initializer.name] = found[0]
        else:  # a constant, something computed from weights, or one of several weights that are equal
            unknown |= bool(found) or _is_computed(initializer)
    if unknown:
        weights = {}
    fixed = sorted({*tensors} - {name for name, _ in weights.values()})
    return _Kept(weights, fixed, _hash({name: tensors[name] for name in fixed}))


def _origins(initializer: TensorProto, tensors: dict[str, NDArray[np.generic]]) -> list[tuple[str, bool]]:
    """The weights that an initializer may be, each with whether it is transposed. Its name decides if it can."""
    content, shape = initializer.raw_data, tuple(initializer.dims)
    own = tensors.get(initializer.name)
    if own is not None and own.tobytes() == content:
        return [(initializer.name, False)]
    return [
        (name, transposed)
        for name, tensor in tensors.items()
        for transposed in ((False, True) if tensor.ndim == 2 else (False,))
        if (tensor.T if transposed else tensor).shape == shape
        and (tensor.T if transposed else tensor).tobytes() == content
    ]


def _is_computed(initializer: TensorProto) -> bool:
    """Whether an initializer may have been computed from weights: it holds several numbers that are not integers."""
    array = numpy_helper.to_array(initializer)
    return array.size > 1 and array.dtype.kind not in "iub"


def _tensors(tracing: Tracing) -> dict[str, NDArray[np.generic]]:
    """The weights of a module."""
    module = tracing.module
    return {name: _array(tensor) for name, tensor in [*module.named_parameters(), *module.named_buffers()]}


def _array(tensor: torch.Tensor) -> NDArray[np.generic]:
    """A tensor as an array; one of bfloat16, which NumPy does not have, as its bits."""
    array: NDArray[np.generic] = tensor.detach().view(BITS.get(tensor.dtype, tensor.dtype)).numpy()
    return array


def _structure(tracing: Tracing) -> str:
    """The hash of everything that decides what a trace gives, except the weights."""
    modules = [(part, type(one), _settings(one)) for part, one in tracing.module.named_modules()]
    arguments = [(one.shape, one.dtype, _hash({"": _array(one)})) for one in tracing.arguments]
    named = [*tracing.module.named_parameters(), *tracing.module.named_buffers()]
    weights = [(name, tensor.shape, tensor.dtype) for name, tensor in named]
    names = tracing.input_names, tracing.output_names
    return sha256(repr((modules, arguments, tracing.free_axes, names, weights)).encode()).hexdigest()


def _settings(module: torch.nn.Module) -> list[tuple[str, object]]:
    return sorted((key, value) for key, value in vars(module).items() if not key.startswith("_"))


def _hash(tensors: dict[str, NDArray[np.generic]]) -> str:
    found = sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        found.update(tensor.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    for module, name, replacement in remembering(Path(sys.argv.pop(1))):
        setattr(module, name, replacement)
    importlib.import_module(sys.argv.pop(1)).main()
