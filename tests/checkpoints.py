from bark_onnx_bench.checkpoints import *  # noqa: F403
