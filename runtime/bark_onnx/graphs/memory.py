"""Memory that graphs read and write in place, and small tensors that the host exchanges with them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LESS_MEMORY, DeviceError, OutOfMemory, is_out_of_memory
from .cuda import allocate, failure
from .device import Device

BFLOAT16 = np.uint16
"""Stands for bfloat16, which numpy does not have. Both take two bytes, and no graph here has tensors of uint16."""

_ONNX_BFLOAT16 = 16  # TensorProto.BFLOAT16

_ALIGNMENT = 256  # bytes; CUDA aligns what it allocates at this


@dataclass(frozen=True)
class Memory:
    """The address and the shape of a tensor that a graph reads or writes in place. `owner` holds the memory."""

    pointer: int
    shape: tuple[int, ...]
    dtype: type[np.generic]
    memory: str
    owner: Any = field(repr=False)
    index: int = 0

    @classmethod
    def of(cls, array: NDArray[Any]) -> "Memory":
        """A numpy array's memory; the array is contiguous."""
        return cls(array.ctypes.data, array.shape, array.dtype.type, "cpu", array)

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: type[np.generic], device: Device) -> "Memory":
        """Zeros in the device's memory. Raises OutOfMemory or DeviceError on a GPU, MemoryError on the CPU.

        On the CPU, pages that are never touched take no memory. For one large block numpy asks for huge pages, so
        that reading a KV cache of 75 MB at every step misses the TLB far less often.
        """
        zeros = np.zeros(shape, dtype)
        if device.memory == "cpu":
            return cls.of(zeros)
        memory = cls._on_gpu(shape, dtype, device)
        memory.owner.update_inplace(zeros)
        return memory

    @classmethod
    def block(cls, shapes: Sequence[tuple[int, ...]], dtype: type[np.generic], device: Device) -> "list[Memory]":
        """Tensors of these shapes in one block of the device's memory. Their contents are undefined.

        Raises OutOfMemory or DeviceError.
        """
        starts = _starts((shape, dtype) for shape in shapes)
        size = (starts[-1],)
        on_cpu = device.memory == "cpu"
        whole = cls.of(np.empty(size, np.uint8)) if on_cpu else cls._on_gpu(size, np.uint8, device)
        return [whole.part(start, shape, dtype) for start, shape in zip(starts[:-1], shapes, strict=True)]

    @classmethod
    def _on_gpu(cls, shape: tuple[int, ...], dtype: type[np.generic], device: Device) -> "Memory":
        try:
            value = allocate(shape, dtype, device.index)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if is_out_of_memory(error):
                raise OutOfMemory(f"not enough memory on the GPU: {LESS_MEMORY}") from None
            raise DeviceError(f"device {device.name!r} failed: {failure(error)}") from None
        return cls(value.data_ptr(), shape, dtype, device.memory, value, device.index)

    def part(self, start: int, shape: tuple[int, ...], dtype: type[np.generic]) -> "Memory":
        """A tensor that begins `start` bytes after the beginning of this memory."""
        return Memory(self.pointer + start, shape, dtype, self.memory, self.owner, self.index)

    @property
    def element(self) -> type[np.generic] | int:
        """The element type as ONNX Runtime takes it: numpy's type, or ONNX's number of a type that numpy lacks."""
        return _ONNX_BFLOAT16 if self.dtype is BFLOAT16 else self.dtype

    def __getitem__(self, place: tuple[int, range]) -> "Memory":
        """`self[n, rows]`: neighbouring rows of the nth part. The first two axes are the parts and the rows."""
        part, rows = place
        row_bytes = math.prod(self.shape[2:]) * np.dtype(self.dtype).itemsize
        start = (part * self.shape[1] + rows.start) * row_bytes
        return self.part(start, (len(rows), *self.shape[2:]), self.dtype)


def _starts(tensors: Iterable[tuple[tuple[int, ...], type[np.generic]]]) -> list[int]:
    """The bytes at which tensors of these shapes and types begin in one block, and then the size of the block."""
    sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in tensors]
    return [0, *accumulate(size + -size % _ALIGNMENT for size in sizes)]


@dataclass(frozen=True)
class Feed:
    """A small tensor that the host and a graph exchange: the host's array, and the memory that the graph is bound to.

    On the CPU both are the same memory.
    """

    array: NDArray[Any]
    memory: Memory

    @classmethod
    def of(cls, array: NDArray[Any], device: Device) -> "Feed":
        on_cpu = device.memory == "cpu"
        return cls(array, Memory.of(array) if on_cpu else Memory.zeros(array.shape, array.dtype.type, device))

    def push(self) -> None:
        """Copy the array to the graph's memory."""
        if self.memory.owner is not self.array:
            self.memory.owner.update_inplace(self.array)

    def pull(self) -> None:
        """Copy the graph's memory to the array."""
        if self.memory.owner is not self.array:
            self.array[...] = self.memory.owner.numpy()


@dataclass(frozen=True)
class Part:
    """One of several small tensors that are sent together: the host's array, and the memory that a graph reads."""

    array: NDArray[Any]
    memory: Memory


class Parcel:
    """Small tensors that the host writes and graphs read. They are sent to the device in one copy.

    Args:
        shapes: the shape and the type of each; the first two axes are those of `Memory`.
    """

    def __init__(self, shapes: Sequence[tuple[tuple[int, ...], type[np.generic]]], device: Device) -> None:
        starts = _starts(shapes)
        self._whole = Feed.of(np.zeros(starts[-1], np.uint8), device)
        self.parts = [
            self._part(start, shape, dtype) for start, (shape, dtype) in zip(starts[:-1], shapes, strict=True)
        ]

    def _part(self, start: int, shape: tuple[int, ...], dtype: type[np.generic]) -> Part:
        whole = self._whole
        end = start + math.prod(shape) * np.dtype(dtype).itemsize
        array = whole.array[start:end].view(dtype).reshape(shape)
        return Part(array, whole.memory.part(start, shape, dtype))

    def push(self) -> None:
        """Copy the arrays to the graphs' memory."""
        self._whole.push()
