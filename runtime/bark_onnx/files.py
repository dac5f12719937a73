"""Writing files whole or not at all, and where what can be made again is kept."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and is gone when it does not."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:64]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def umask() -> int:
    """The process's umask, which can only be read by setting it. What makes temporary files ignores it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_directory() -> Path:
    """Where what can be made again is kept: BARK_ONNX_CACHE, or `bark-onnx` in the user's cache directory."""
    own, users = os.environ.get("BARK_ONNX_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(users) if users else Path.home() / ".cache") / "bark-onnx"
