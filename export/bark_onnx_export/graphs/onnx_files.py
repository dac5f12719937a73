"""ONNX files: large weights in a second file, and the check for standard operators."""

from pathlib import Path

import onnx

from bark_onnx.errors import BarkError, one_line

LARGE = 32 << 20  # bytes; weights of a larger model are written to a second file, which can be mapped into memory


def check_portable(path: Path) -> None:
    """Raise BarkError if a graph has an operator that is not standard ONNX, or if the checker of ONNX refuses it."""
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
    """Write a model. If it is larger than LARGE, its weights are written to `NAME.onnx.data`.

    Args:
        beside: a model file in the same directory. Tensors that are equal in it and in its external data are not
            written again.
    """
    model.ClearField("metadata_props")  # the quantizers write their names there
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
    """Let tensors of `model` refer to another model's external data where the two are equal."""
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
