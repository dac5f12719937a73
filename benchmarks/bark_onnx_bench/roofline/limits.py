"""Measure this machine's limits, and compute the floor: the least time in which it can do a given work."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from bark_onnx.errors import BarkError, how_to_install

from ..machine.description import read_bandwidth
from ..machine.timing import timed
from .work import ARITHMETIC, Work, layer_matrices

ROWS = 1024  # positions in a fine window
REPEATS = 10


@dataclass(frozen=True)
class Limits:
    """The limits of a machine: bytes it reads per second, and multiply-adds per second by number format."""

    bytes_per_s: float
    multiply_adds_per_s: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        speeds = {form: round(speed / 1e9, 1) for form, speed in self.multiply_adds_per_s.items()}
        return {"read_bandwidth_gb_s": round(self.bytes_per_s / 1e9, 1), "matrix_giga_multiply_adds_s": speeds}


@dataclass(frozen=True)
class Floor:
    """The least seconds that a work takes, and which limit decides: `bandwidth` or `arithmetic`."""

    seconds: float
    bound_by: str


def floor(work: Work, limits: Limits) -> Floor:
    """Reading and multiplying can overlap; multiplying in two formats cannot."""
    reading = work.bytes_read / limits.bytes_per_s
    multiplying = sum(count / limits.multiply_adds_per_s[form] for form, count in work.multiply_adds.items())
    return Floor(reading, "bandwidth") if reading >= multiplying else Floor(multiplying, "arithmetic")


def measure_limits(formats: Iterable[str], width: int) -> Limits:
    """Measure the limits of this machine with all its cores, on matrices of a model of this width.

    The speed of a format is that of the fastest shape, and of a shape that of its fastest run, so that no stage can
    exceed the limit.

    Args:
        formats: in which weights are stored; fp32 and int8 are always measured.
    """
    wanted = {"fp32", "int8"} | {ARITHMETIC[form] for form in formats if form in ARITHMETIC}
    speeds = {form: max(_speed(form, *matrix) for matrix in layer_matrices(width)) for form in sorted(wanted)}
    return Limits(read_bandwidth() * 1e9, speeds)


def _speed(form: str, inputs: int, outputs: int) -> float:
    """Return the multiply-adds per second that ONNX Runtime reaches in [ROWS, inputs] x [inputs, outputs]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(_product(form, inputs, outputs), options, providers=["CPUExecutionProvider"])
    dtype = np.float16 if form == "fp16" else np.float32
    x = np.random.default_rng(0).standard_normal((ROWS, inputs)).astype(dtype)
    return ROWS * inputs * outputs / timed(lambda: session.run(None, {"x": x}), REPEATS, warmups=2).minimum


def _product(form: str, inputs: int, outputs: int) -> bytes:
    """Build a graph with one matrix product.

    It is a `MatMul`, or for int8 the five nodes that the exporter writes and that ONNX Runtime fuses into one.
    """
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
