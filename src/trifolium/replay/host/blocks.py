"""Blocks: memory of large results, used again when the last array in it is gone.

An array of some hundred kilobytes may be new pages of the operating system each time, and filling such
pages takes longer than gathering rows into pages that are there already. A block is lent to one result
at a time. It comes back when no array, tensor or view of any framework refers to it any more. So what
was returned never changes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "Blocks"]

ALIGNMENT = 64  # bytes that XLA wants the address of an array to be a multiple of
SMALLEST, LARGEST = 1 << 17, 1 << 26  # bytes of results that are lent blocks
FREE = 2  # blocks of a size that are kept while nobody uses them


class Blocks:
    """Memory for results; threads may ask for it at once.

    Sizes are powers of two, of which untouched pages take no memory. Two free blocks of each size are
    kept: one is enough where a batch is dropped when the next one is there.

    >>> blocks = Blocks()
    >>> first = blocks.empty((1000, 100), np.dtype("float32"))
    >>> address = first.ctypes.data
    >>> del first
    >>> blocks.empty((1000, 100), np.dtype("float32")).ctypes.data == address
    True
    """

    def __init__(self) -> None:
        self._free: dict[int, deque[_Memory]] = {}

    def __reduce__(self) -> Any:
        return Blocks, ()  # a copy has memory of its own

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return an array of unknown values at an address that is a multiple of ALIGNMENT."""
        size = math.prod(shape) * dtype.itemsize
        if not SMALLEST <= size <= LARGEST:
            return np.ndarray(shape, dtype, _aligned(size))
        size = 1 << (size - 1).bit_length()
        free = self._free.get(size)
        if free is None:
            free = self._free.setdefault(size, deque(maxlen=FREE))
        try:
            memory = free.pop()
        except IndexError:
            memory = _aligned(size)
        lease = memory.view(_Lease)
        lease.free = free
        return np.ndarray(shape, dtype, lease)


class _Memory(np.ndarray):
    """Bytes. They have a type of their own, so that NumPy does not take them for the base of a view."""

    __slots__ = ()


class _Lease(np.ndarray):
    """The base of all arrays in one block: when it ends, the block is free.

    Attributes:
        free: where the block goes then; appending to a deque is safe in any thread.
    """

    __slots__ = ("free",)

    free: deque[_Memory]

    def __del__(self) -> None:
        memory = self.base
        if isinstance(memory, _Memory):
            self.free.append(memory)


def _aligned(size: int) -> _Memory:
    """Return ``size`` bytes at an aligned address."""
    memory = _Memory(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    found: Any = memory[start : start + size]
    return found
