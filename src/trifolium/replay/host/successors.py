"""The observations given as ``next_obs`` with the newest steps, until the next row is added."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium.backend import Params
from trifolium.replay.rules.chunk import differs
from trifolium.replay.schema import BufferSpec

__all__ = ["EVERY", "Successors"]

SMALL_BYTES = 1 << 16  # below it arrays are compared fastest as bytes
EVERY = -1  # a stream, in passed_on: all of them at once


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
        # one array that is added step by step, for one stream or for all, is kept as bytes
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

    def passed_on(self, stream: int, columns: Mapping[str, Any], following: Mapping[str, Any]) -> bool:
        """Do :meth:`held` and :meth:`give` in one, where that is quick; return whether it was done.

        Args:
            stream: the one that took a step, or EVERY.
            columns: of the step.
            following: the observation after it.
        """
        if self._bytes is None or self._stream != stream or columns["obs"].tobytes() != self._bytes:
            return False
        self._bytes = following["obs"].tobytes()
        return True

    def give_each(self, streams: Any, following: Mapping[str, np.ndarray], waiting: np.ndarray) -> None:
        """Set the successors of ``streams``, an index of NumPy, where ``waiting`` [N] is True."""
        value = following.get("obs")
        if (
            self._is_one_array
            and value is not None
            and value.nbytes <= SMALL_BYTES
            and np.count_nonzero(waiting) == len(self._waiting)
        ):  # which leaves out what was given before
            self._bytes, self._stream, self.any = value.tobytes(), EVERY, True
            return
        self._unpack()
        for name, value in following.items():
            self._arrays[name][streams] = value
        self._waiting[streams] = waiting
        self.any = self._others = bool(np.count_nonzero(self._waiting))

    def drop(self, streams: Any) -> None:
        """Drop the successors of ``streams``, an index of NumPy."""
        self._unpack()
        self._waiting[streams] = False
        self.any = self._others = bool(np.count_nonzero(self._waiting))

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

    def unlike(self, streams: Any, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the places in ``streams``, an index of NumPy, whose successors differ.

        Args:
            streams: N of them.
            columns: [N, ...], compared with the successors.

        Returns:
            An array of integers from 0 to N - 1, ascending.
        """
        self._unpack()
        found = np.zeros(0, np.intp)
        for name, array in self._arrays.items():
            given, value = array[streams], columns[name]
            if given.nbytes < SMALL_BYTES and given.tobytes() == value.tobytes():
                continue
            unequal = (given != value).reshape(len(given), -1).any(axis=1)
            unequal &= self._waiting[streams]
            places = np.flatnonzero(unequal)
            if len(places):  # with NaN, equal ones are among them
                found = np.union1d(found, places[differs(np, given[places], value[places], 1)])
        return found

    def _unpack(self) -> None:
        """Write what is kept as bytes to the arrays."""
        if self._bytes is not None:
            array = self._arrays["obs"]
            which = slice(None) if self._stream == EVERY else slice(self._stream, self._stream + 1)
            array[which] = np.frombuffer(self._bytes, array.dtype).reshape(array[which].shape)
            self._waiting[which] = self.any = self._others = True
            self._bytes = None
