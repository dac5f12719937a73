"""ONNX Runtime, which no other package of the runtime imports."""

import os

from ..errors import MissingOnnxRuntimeError, how_to_install

# Since 1.29, ONNX Runtime's published builds write an identifier of the device to the user's cache directory and send
# usage data to Microsoft, from their import on. This turns it off, unless the user has said what to do.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    import onnxruntime as _  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "onnxruntime":
        raise
    raise MissingOnnxRuntimeError(
        f"bark-onnx needs ONNX Runtime: {how_to_install('cpu')}, or '.[gpu]' for NVIDIA GPUs"
    ) from None
