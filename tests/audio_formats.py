"""The audio formats that tests can write here, and those that libsndfile can read back."""

from bark_onnx.audio.formats import FORMATS

WRITABLE = [name for name, one in FORMATS.items() if one.is_installed]
READABLE = [name for name, one in FORMATS.items() if not one.by_pyav]
