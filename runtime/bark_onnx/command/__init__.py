"""The `bark-onnx` command: thin calls of the API."""
