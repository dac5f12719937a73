"""Modules to ONNX graphs: the one call of `torch.onnx.export`."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tracing:
    """A module, and how to trace it.

    Args:
        module: the module.
        arguments: example inputs. A free axis must have a length of at least 2, because torch fixes it otherwise.
        free_axes: for each argument, the axes whose lengths vary at run time.
        input_names, output_names: the names in the graph.
    """

    module: nn.Module
    arguments: tuple[Tensor, ...]
    free_axes: tuple[Any, ...]
    input_names: list[str]
    output_names: list[str]


def graph_bytes(tracing: Tracing) -> bytes:
    """Trace a module and return its graph as the content of an ONNX file, with its weights in it."""
    content: bytes = _traced(tracing).model_proto.SerializeToString(deterministic=True)
    return content


def export_graph(tracing: Tracing, path: Path) -> None:
    """Trace a module and write its graph. The weights are written to a second file."""
    _traced(tracing).save(path, external_data=True)


def _traced(tracing: Tracing) -> torch.onnx.ONNXProgram:
    """Trace a module, and remove traces of this machine from the graph: torch records stack traces with paths."""
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's exporter and the quantizers, which print and log details that do not concern the user."""
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
