"""The observations given as ``next_obs`` with the newest steps, until the next row is added."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium.backend import Params
from trifolium.replay.rules.chunk import differs
from trifolium.replay.schema import BufferSpec

__all__ = ["Successors"]


class Successors:
    """What follows the newest step of each stream, where that was given and is no row yet.

    Args:
        spec: the buffer's options.

    Attributes:
        any: whether some newest step has such a successor.
    """

    def __init__(self, spec: BufferSpec) -> None:
        shapes = {leaf.column: ((spec.n_streams, *leaf.shape), leaf.dtype) for leaf in spec.leaves}
        self._arrays: Params = {name: np.zeros(*kind) for name, kind in shapes.items()}
        self._waiting = np.zeros(spec.n_streams, bool)
        self.any = False
        # one array that is added step by step is kept as bytes, which are compared fastest
        self._is_one_array = not spec.is_structured and bool(spec.leaves[0].shape)
        self._bytes: bytes | None = None
        self._stream = 0
        self._others = False  # whether a stream besides that one has a successor

    @property
    def arrays(self) -> Params:
        """[n_streams, ...] of each leaf."""
        self._unpack()
        return self._arrays

    @property
    def waiting(self) -> np.ndarray:
        """[n_streams] bool, whether the newest step has a successor that is no row yet."""
        self._unpack()
        return self._waiting

    def give(self, stream: int, following: Mapping[str, Any]) -> None:
        """Set the successor of the newest step of ``stream``."""
        if self._is_one_array:
            if self._bytes is not None and self._stream != stream:
                self._unpack()
            self._bytes, self._stream, self.any = following["obs"].tobytes(), stream, True
            return
        for name, value in following.items():
            self._arrays[name][stream] = value
        self._waiting[stream] = self.any = self._others = True

    def give_each(
        self, streams: np.ndarray, following: Mapping[str, np.ndarray], waiting: np.ndarray
    ) -> None:
        """Set the successors of ``streams`` [N], where ``waiting`` [N] is True."""
        self._unpack()
        for name, value in following.items():
            self._arrays[name][streams] = value
        self._waiting[streams] = waiting
        self.any = self._others = bool(self._waiting.any())

    def drop(self, streams: Any) -> None:
        """Drop the successors of ``streams``, an index of NumPy."""
        self._unpack()
        self._waiting[streams] = False
        self.any = self._others = bool(self._waiting.any())

    def held(self, stream: int, columns: Mapping[str, Any]) -> bool:
        """Return whether ``columns`` are the successor given for ``stream``, if any; then drop it."""
        given = self._bytes
        if given is not None and self._stream == stream and columns["obs"].tobytes() == given:
            self._bytes = None
            self.any = self._others
            return True
        self._unpack()
        if self._waiting[stream]:
            for name, given in self._arrays.items():
                found = np.asarray(columns[name], given.dtype)
                if differs(np, given[stream][None], found[None], 1)[0]:
                    return False
            self.drop(stream)
        return True

    def unlike(self, streams: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return [N] bool: whose successor differs from its row of ``columns`` [N, ...]."""
        self._unpack()
        found = np.zeros(len(streams), bool)
        for name, given in self._arrays.items():
            found |= differs(np, given[streams], columns[name], 1)
        return found & self._waiting[streams]

    def _unpack(self) -> None:
        """Write what is kept as bytes to the arrays."""
        if self._bytes is not None:
            array = self._arrays["obs"]
            array[self._stream] = np.frombuffer(self._bytes, array.dtype).reshape(array.shape[1:])
            self._waiting[self._stream] = self.any = self._others = True
            self._bytes = None
