"""The checkpoint: the trained networks in Hugging Face's layout, which `bark-onnx export` reads."""
