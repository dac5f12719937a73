"""The CUDA stream that the sessions of one bundle share, so that their runs need not wait for each other.

A session by itself waits at the end of each run until the GPU is done. On a shared stream the GPU runs everything in
order: the sampler reads the logits after the decoder has written them. So the host waits once, before it reads.
"""

import ctypes
import sys

from ..errors import DeviceError
from .cuda import runtime_library

_NON_BLOCKING = 1  # cudaStreamNonBlocking: work on CUDA's default stream does not wait for this stream, nor it for that


class Stream:
    """A stream of one GPU.

    Args:
        index: the number of the GPU.
        handle: the address of a stream that the caller owns; without it, a new one is created when it is first needed.
    """

    def __init__(self, index: int, handle: int | None = None) -> None:
        self._index, self._handle, self._own = index, handle, handle is None

    @property
    def handle(self) -> int:
        """Its address. Raises DeviceError if CUDA does not start."""
        if self._handle is None:
            self._handle = _new_stream(self._index)
        return self._handle

    def wait(self) -> None:
        """Wait until the GPU has done everything so far. Raises DeviceError for what failed there."""
        if self._handle is not None:
            _checked(runtime_library().cudaStreamSynchronize(ctypes.c_void_p(self._handle)))

    def __del__(self) -> None:
        if self._own and self._handle is not None and not sys.is_finalizing():
            runtime_library().cudaStreamDestroy(ctypes.c_void_p(self._handle))


def _new_stream(index: int) -> int:
    """A stream on a GPU. The calling thread keeps its current GPU."""
    try:
        cuda = runtime_library()
    except OSError as error:
        raise DeviceError(f"device 'cuda' did not start: {error}") from None
    before, handle = ctypes.c_int(), ctypes.c_void_p()
    _checked(cuda.cudaGetDevice(ctypes.byref(before)))
    _checked(cuda.cudaSetDevice(index))
    try:
        _checked(cuda.cudaStreamCreateWithFlags(ctypes.byref(handle), _NON_BLOCKING))
    finally:
        cuda.cudaSetDevice(before)
    assert handle.value is not None
    return handle.value


def _checked(code: int) -> None:
    """Raise DeviceError for an error code of CUDA's."""
    if code:
        cuda = runtime_library()
        cuda.cudaGetErrorString.restype = ctypes.c_char_p
        said: bytes = cuda.cudaGetErrorString(code)
        raise DeviceError(f"device 'cuda' failed: CUDA error {code}: {said.decode(errors='replace')}")
