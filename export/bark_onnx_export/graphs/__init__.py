"""ONNX graphs: tracing torch modules, quantised matrices, files."""
