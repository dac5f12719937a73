"""Start CUDA: load its libraries before ONNX Runtime first asks for them, and say why a GPU does not answer."""

import contextlib
import ctypes
import io
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import onnxruntime as ort

from ..errors import reason

_FATAL = 4  # ONNX Runtime's log severity
_SAID = re.compile(r"(?:CUDA|CUDNN) (?:failure|error) \d+: [^;]+|cuDNN is unavailable.*|CUDA Provider not available")
_DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"

TURNS = RLock()
"""Whoever uses a GPU in this process holds this. While one thread records runs, CUDA allows no other thread to allocate
memory, to copy or to wait (cudaStreamCaptureModeGlobal, with which ONNX Runtime records). Standard output is replaced
while libraries are loaded."""


def _new_turns() -> None:
    """In the child of a fork, no thread is left that could release the lock."""
    global TURNS
    TURNS = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turns)


def why_no_gpu(index: int = 0) -> str | None:
    """Try to allocate memory on a GPU; None if that works, else why not, in one line.

    A provider that ONNX Runtime lists was built in, but its libraries may be missing, and so may a GPU.
    """
    with TURNS:
        missing = _load_libraries() or _missing_driver()
        try:
            allocate((1,), np.float32, index)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            return missing or failure(error)
    return None


def allocate(shape: tuple[int, ...], dtype: type[np.generic], index: int) -> Any:
    """An OrtValue in a GPU's memory."""
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cuda", index)


def load_tensorrt() -> None:
    """Load TensorRT's libraries from NVIDIA's package, where the provider does not look for them.

    Without the package the provider takes those of the system, if it finds any.
    """
    with TURNS, contextlib.suppress(Exception), _standard_output_to(io.StringIO()):
        import tensorrt  # noqa: F401


def runtime_library() -> ctypes.CDLL:
    """CUDA's runtime library, which the CUDA provider is linked with. Raises OSError if it does not load."""
    return ctypes.CDLL(f"cudart64_{_major()}.dll" if os.name == "nt" else f"libcudart.so.{_major()}")


def failure(error: Exception) -> str:
    """Return what CUDA or cuDNN say in an error of ONNX Runtime, or else the error's first line."""
    said = reason(error)
    found = _SAID.search(said)
    return found[0].strip() if found else said


def _missing_driver() -> str | None:
    """Why the driver's library, which no package installs, does not load; None if it does."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError as error:
        return reason(error)
    return None


@cache
def _load_libraries() -> str | None:
    """Load the CUDA libraries of the nvidia packages, or else those of the system; which one is missing, if any.

    ONNX Runtime's log would write yellow and red lines to standard error, also about what is not an error. From here
    on it writes only what is fatal: other failures are raised.
    """
    ort.set_default_logger_severity(_FATAL)
    said = io.StringIO()
    with contextlib.suppress(Exception), _standard_output_to(said):  # the attempt to allocate memory then fails
        for directory in _package_directories():
            cudnn = "cudnn" in directory.parts
            ort.preload_dlls(cuda=not cudnn, cudnn=cudnn, msvc=False, directory=str(directory))
        said.seek(0)
        said.truncate()  # what one directory lacks, another may have
        ort.preload_dlls()
    failed = [line for line in said.getvalue().splitlines() if line.startswith("Failed to load ")]
    return failed[0].split(": ", 1)[-1] if failed else None


def _package_directories() -> Iterator[Path]:
    """The libraries' directories in the nvidia packages, which may be in several places; CUDA's before cuDNN's.

    ONNX Runtime looks only beside its own package. `nvidia` is a namespace, with a folder in any place of `sys.path`.
    """
    bases = [Path(place, "nvidia").absolute() for place in sys.path if place]
    for part in (f"cu{_major()}", "cudnn"):
        for base in bases:
            for folder in ("lib", "bin/x86_64", "bin"):  # Linux; Windows, where cuDNN is one folder higher
                if any((base / part / folder).glob("*.dll" if os.name == "nt" else "lib*.so*")):
                    yield base / part / folder


def _major() -> str:
    """The version of CUDA that this ONNX Runtime is built for, such as 13; nothing in a build without CUDA."""
    return str(getattr(ort, "cuda_version", "")).split(".")[0]


@contextlib.contextmanager
def _standard_output_to(said: io.StringIO) -> Iterator[None]:
    """Keep standard output clean, since audio may be written there.

    What Python prints is kept; what libraries write to the file descriptor goes to standard error.
    """
    with contextlib.suppress(OSError, ValueError):  # standard output may be closed
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        kept = None
    try:
        if kept is not None:
            with contextlib.suppress(OSError):  # standard error may be closed
                os.dup2(2, 1)
        with contextlib.redirect_stdout(said):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
