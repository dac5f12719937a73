"""Write transformer graphs with quantised matrices.

Rows: a product of 8-bit activations and weights, by standard operators. Every row of activations is divided by its
largest absolute value, rounded with a constant scale, and the product is multiplied by that value again. So a row's
result does not depend on the rows beside it. ONNX Runtime fuses the operators between the two into one integer
product (MatMulIntegerToFloat).

Blocks: ONNX Runtime's MatMulNBits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from ..quantization.rounding import Rounded
from .onnx_files import save_model

# Codes of activations: [0, 255] around 128. GELU is never below -0.17: its outputs have 32 codes below zero, and 223
# above, which halves their error. A row whose largest value is below GELU_SMALLEST is divided by that.
ZERO, STEPS = 128, 127
GELU_ZERO, GELU_STEPS = 32, 223
GELU_SMALLEST = 0.17 * GELU_STEPS / GELU_ZERO
SMALLEST = 1e-30  # rows of zeros are divided by this


def quantize(
    source: Path,
    target: Path,
    names: Sequence[str],
    matrices: Mapping[str, Rounded],
    *,
    portable: bool = False,
    beside: Path | None = None,
    change: Callable[[onnx.GraphProto], None] | None = None,
) -> None:
    """Write the transformer graph `source` to `target` with quantised matrices.

    Args:
        names: the names of all matrices, in the order in which the graph multiplies by them.
        matrices: the quantised ones by name; the others stay as they are.
        portable: quantise activations to int8 around 0, as TensorRT asks for.
        beside: a graph of the same transformer beside `target`. Tensors that are equal in both are written once.
        change: is called with the graph before it is written.
    """
    model = onnx.load(source)
    _replace_products(model.graph, names, matrices, portable=portable)
    if change is not None:
        change(model.graph)
    if not any(domain.domain == "com.microsoft" for domain in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    save_model(model, target, beside)


def _replace_products(
    graph: onnx.GraphProto, names: Sequence[str], matrices: Mapping[str, Rounded], *, portable: bool
) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    by_output = {node.output[0]: name for node, name in zip(products, names, strict=True) if name in matrices}
    after_gelu = {node.output[0] for node in graph.node if node.op_type == "Gelu"}
    nodes, replaced = [], set()
    for node in graph.node:
        name = by_output.get(node.output[0])
        if name is None:
            nodes.append(node)
            continue
        weight, matrix = weights[node.input[1]], matrices[name]
        if tuple(weight.dims) != matrix.codes.shape[::-1]:
            raise AssertionError(f"{name} is {list(weight.dims)} in the graph, {matrix.codes.shape[::-1]} expected")
        replaced.add(weight.name)
        if matrix.form.block is None:
            gelu = node.input[0] in after_gelu and not portable
            nodes += _rows(graph, name, matrix, node.input[0], node.output[0], gelu=gelu, signed=portable)
        else:
            half = weight.data_type == onnx.TensorProto.FLOAT16
            nodes.append(_blocks(graph, name, matrix, node.input[0], node.output[0], half=half))
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    for field, values in ((graph.node, nodes), (graph.initializer, kept)):
        del field[:]
        field.extend(values)


def _rows(
    graph: onnx.GraphProto, name: str, matrix: Rounded, x: str, y: str, *, gelu: bool, signed: bool
) -> Iterator[NodeProto]:
    """The product of activations that are quantised by rows, and of a matrix with a scale for each output channel."""
    prefix = "gelu" if gelu else "rows"
    steps, zero = (GELU_STEPS, GELU_ZERO) if gelu else (STEPS, 0 if signed else ZERO)
    axis = _constant(graph, "rows.axis", np.array([-1]))
    smallest = _constant(graph, f"{prefix}.smallest", np.float32(GELU_SMALLEST if gelu else SMALLEST))
    step = _constant(graph, f"{prefix}.step", np.float32(1 / steps))
    middle = _constant(graph, f"{prefix}.zero", np.array(zero, np.int8 if signed else np.uint8))
    codes = _constant(graph, f"{name}.codes", np.ascontiguousarray(matrix.codes.T))
    scales = _constant(graph, f"{name}.scales", matrix.scales[:, 0])
    magnitudes = x
    if not gelu:  # the largest of GELU's values is positive, or small
        magnitudes = f"{name}.magnitudes"
        yield helper.make_node("Abs", [x], [magnitudes])
    yield helper.make_node("ReduceMax", [magnitudes, axis], [f"{name}.most"], keepdims=1)
    yield helper.make_node("Max", [f"{name}.most", smallest], [f"{name}.largest"])
    yield helper.make_node("Div", [x, f"{name}.largest"], [f"{name}.divided"])
    yield helper.make_node("QuantizeLinear", [f"{name}.divided", step, middle], [f"{name}.rounded"])
    yield helper.make_node("DequantizeLinear", [f"{name}.rounded", step, middle], [f"{name}.input"])
    yield helper.make_node("DequantizeLinear", [codes, scales], [f"{name}.weight"], axis=1)
    yield helper.make_node("MatMul", [f"{name}.input", f"{name}.weight"], [f"{name}.product"], name=name)
    yield helper.make_node("Mul", [f"{name}.product", f"{name}.largest"], [y])


def _blocks(graph: onnx.GraphProto, name: str, matrix: Rounded, x: str, y: str, *, half: bool) -> NodeProto:
    """The product with a matrix in blocks. Weights are packed as ONNX Runtime asks for: codes are from 0 on."""
    form, (rows, width) = matrix.form, matrix.codes.shape
    assert form.block is not None
    codes = np.pad(matrix.codes.astype(np.int16) + (1 << form.bits - 1), ((0, 0), (0, -width % form.block)))
    codes = codes.reshape(rows, -1, form.block)
    if form.bits == 4:
        codes = codes[..., 0::2] | (codes[..., 1::2] << 4)
    scales = matrix.scales.ravel().astype(np.float16 if half else np.float32)
    return helper.make_node(
        "MatMulNBits",
        [x, _constant(graph, f"{name}.codes", codes.astype(np.uint8)), _constant(graph, f"{name}.scales", scales)],
        [y],
        name=name,
        domain="com.microsoft",
        K=width,
        N=rows,
        bits=form.bits,
        block_size=form.block,
        accuracy_level=0 if half else 4,  # 4: ONNX Runtime quantises activations to 8 bits; 0: it does not
    )


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic] | np.generic) -> str:
    """Add a constant to the graph if it is not there, and return its name."""
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name
