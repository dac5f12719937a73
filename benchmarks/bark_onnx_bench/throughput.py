"""Matrix throughput: multiply-adds a second that ONNX Runtime reaches on this machine, on products like Bark's."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime as ort

from bark_onnx.errors import BarkError, how_to_install

from .floors import ARITHMETIC, Limits, layer_matrices
from .machine import read_bandwidth
from .timing import timed

ROWS = 1024  # positions: a fine window
REPEATS = 10


def measure_limits(formats: Iterable[str], width: int) -> Limits:
    """This machine's, with all its cores, for matrices in these formats and of a model of this width.

    Of several shapes the fastest counts, and of each its fastest run: a limit is not to be beaten.
    """
    wanted = {"fp32", "int8"} | {ARITHMETIC[form] for form in formats if form in ARITHMETIC}
    speeds = {form: max(_speed(form, *matrix) for matrix in layer_matrices(width)) for form in sorted(wanted)}
    return Limits(read_bandwidth() * 1e9, speeds)


def _speed(form: str, inputs: int, outputs: int) -> float:
    """Multiply-adds a second of [ROWS, inputs] x [inputs, outputs]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(_product(form, inputs, outputs), options, providers=["CPUExecutionProvider"])
    dtype = np.float16 if form == "fp16" else np.float32
    x = np.random.default_rng(0).standard_normal((ROWS, inputs)).astype(dtype)
    return ROWS * inputs * outputs / timed(lambda: session.run(None, {"x": x}), REPEATS, warmups=2).least


def _product(form: str, inputs: int, outputs: int) -> bytes:
    """A graph of one matrix product: `MatMul`, or for int8 the five nodes of the bundles, which ONNX Runtime fuses."""
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise BarkError(f"floors need the package onnx: {how_to_install('bench')}") from None
    rng = np.random.default_rng(1)
    constants: dict[str, Any] = {}
    if form == "int8":
        constants["w"] = rng.integers(-127, 128, (inputs, outputs)).astype(np.int8)
        constants["w_scale"] = np.full(outputs, 0.01, np.float32)
        constants["w_zero"] = np.zeros(outputs, np.int8)
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
            helper.make_node("Mul", ["x_scale", "w_scale"], ["scale"]),
            helper.make_node("MatMulInteger", ["q", "w", "x_zero", "w_zero"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "scale"], ["y"]),
        ]
    else:
        constants["w"] = rng.standard_normal((inputs, outputs)).astype(np.float16 if form == "fp16" else np.float32)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    kind = onnx.TensorProto.FLOAT16 if form == "fp16" else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", kind, [None, inputs])],
        [helper.make_tensor_value_info("y", kind, [None, outputs])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())
