"""Ray: the server as an application of Ray Serve (`serve run bark_onnx_serve.ray:app`). It needs the extra `ray`."""

from .application import app

__all__ = ["app"]
