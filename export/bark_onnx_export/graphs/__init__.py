"""ONNX graphs: tracing torch modules, precisions, calibration, quantising."""
