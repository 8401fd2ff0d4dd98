"""Where the large columns of a buffer lie: with the host where that has the device's memory, or not."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from trifolium._checks import Field
from trifolium.backend import Array, Backend, Params, get_backend
from trifolium.replay.assemble import Gathered, Packed, Plan, assemble, assembler, gathered

__all__ = ["DeviceStorage", "HostStorage", "Lazily", "Storage", "make_storage"]

STAGE_BYTES = 4 << 20
STAGE_ROWS = 1024
ALIGNMENT = 64  # bytes that XLA wants the address of an array to be a multiple of
LARGE_ROW = 1024  # bytes of a row from which a copy of a batch takes longer than aligning it


class Storage(Protocol):
    """Columns of rows: observations and extras."""

    def put(self, row: int, values: Mapping[str, np.ndarray]) -> None:
        """Write one row of every column; a column that is not in ``values`` becomes zero."""
        ...

    def put_many(self, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write ``values[name]`` [N, ...] of every column to ``rows`` [N], all different."""
        ...

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        ...

    def copied(self, name: str) -> Array:
        """Return a copy of a column in the backend's arrays."""
        ...

    def batch(self, plan: Plan, flatten: bool) -> Gathered:
        """Return the arrays of a batch; ``flatten`` as for :meth:`trifolium.Buffer.sample`."""
        ...

    def material(self, plan: Plan) -> tuple[Params, Plan | Packed]:
        """Return what :func:`~trifolium.replay.assemble.assemble` makes a batch of, in a graph say.

        What is returned first is the storage itself: it is to be read at once, and neither written
        nor kept.
        """
        ...

    def clear(self) -> None:
        """Forget what is not written yet: the rows that come next may be the same ones."""
        ...


class HostStorage:
    """Columns in NumPy's arrays, for backends whose arrays lie in the host's memory too.

    NumPy gathers small rows faster than any framework starts to, and writes them in place.

    Args:
        backend: whose arrays come out.
        capacity: rows.
        fields: the shape and dtype of each column.
    """

    def __init__(self, backend: Backend, capacity: int, fields: Sequence[Field]) -> None:
        for field in fields:
            backend.dtype(field.dtype.name)
        self._backend, self._host = backend, get_backend("numpy")
        self._columns = {f.name: np.zeros((capacity, *f.shape), f.dtype) for f in fields}
        self._take = _take_aligned if _has_large_rows(fields) else _take

    def put(self, row: int, values: Mapping[str, np.ndarray]) -> None:
        """Write one row; see :class:`Storage`."""
        columns = self._columns
        for name in columns if len(values) < len(columns) else values:
            columns[name][row] = values.get(name, 0)

    def put_many(self, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write many rows; see :class:`Storage`."""
        for name, value in values.items():
            self._columns[name][rows] = value

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        return self._columns[name][rows]

    def copied(self, name: str) -> Array:
        """Return a copy of a column in the backend's arrays."""
        return self._backend.from_numpy(self._columns[name].copy())

    def batch(self, plan: Plan, flatten: bool) -> Gathered:
        """Return the arrays of a batch; see :class:`Storage`."""
        columns, packed = self.material(plan)
        if self._backend is self._host:
            return assemble(self._host, columns, packed, flatten=flatten)
        if self._backend.capabilities.views:
            return assemble(self._host, columns, packed, flatten=flatten).each(self._backend.from_numpy)
        return assembler(self._backend, flatten=flatten)(columns, packed)  # one call for all arrays

    def material(self, plan: Plan) -> tuple[Params, Packed]:
        """Return the rows of a batch, gathered already; see :class:`Storage`."""
        return {}, gathered(np, self._take, self._columns, plan)

    def clear(self) -> None:
        """Forget what is not written yet: nothing here."""


class DeviceStorage:
    """Columns out of the host's reach: rows gather in a stage and are written many at a time.

    ``arrays`` writes what is staged first, so what was put is always in what is read.

    Args:
        backend: owner of the columns.
        capacity: rows.
        fields: the shape and dtype of each column.
        max_rows: rows of one stage at most; no row may be staged twice before it is written, and a
            ring of that length makes sure of it.
    """

    def __init__(self, backend: Backend, capacity: int, fields: Sequence[Field], max_rows: int) -> None:
        row_bytes = sum(f.dtype.itemsize * int(np.prod(f.shape)) for f in fields)
        size = max(1, min(STAGE_ROWS, max_rows, STAGE_BYTES // row_bytes))
        self._backend = backend
        self._arrays = {f.name: backend.zeros((capacity, *f.shape), f.dtype.name) for f in fields}
        self._stage = {f.name: np.zeros((size, *f.shape), f.dtype) for f in fields}
        self._rows = np.zeros(size, np.int64)
        self._staged = 0

    @property
    def arrays(self) -> Params:
        """The columns in the backend's arrays, all that was written included."""
        if self._staged:
            self._flush()
        return self._arrays

    def put(self, row: int, values: Mapping[str, np.ndarray]) -> None:
        """Write one row; see :class:`Storage`."""
        slot = self._staged
        for name, stage in self._stage.items():
            stage[slot] = values.get(name, 0)
        self._rows[slot] = row
        self._advance(1)

    def put_many(self, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write many rows; see :class:`Storage`."""
        count = len(rows)
        if count > len(self._rows):
            self._flush()
            self._arrays = self._written(rows, values)
            return
        if self._staged + count > len(self._rows):
            self._flush()
        slots = slice(self._staged, self._staged + count)
        for name, stage in self._stage.items():
            stage[slots] = values[name]
        self._rows[slots] = rows
        self._advance(count)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        index = self._backend.from_numpy(rows.astype(self._backend.default_int))
        return self._backend.to_numpy(self._backend.take(self.arrays[name], index))

    def copied(self, name: str) -> Array:
        """Return a copy of a column in the backend's arrays."""
        return self._backend.xp.asarray(self.arrays[name], copy=True)

    def batch(self, plan: Plan, flatten: bool) -> Gathered:
        """Return the arrays of a batch; see :class:`Storage`."""
        return assembler(self._backend, flatten=flatten)(self.arrays, plan)

    def material(self, plan: Plan) -> tuple[Params, Plan]:
        """Return the columns, and the plan as it is; see :class:`Storage`."""
        return self.arrays, plan

    def clear(self) -> None:
        """Forget what is staged: the rows that come next may be the same ones."""
        self._staged = 0

    def _advance(self, count: int) -> None:
        self._staged += count
        if self._staged == len(self._rows):
            self._flush()

    def _flush(self) -> None:
        count, self._staged = self._staged, 0
        if not count:
            return
        staged = {name: stage[:count] for name, stage in self._stage.items()}
        self._arrays = self._written(self._rows[:count], staged)

    def _written(self, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> Params:
        """Return the columns with ``values`` [N, ...] of each in ``rows`` [N].

        Arrays are made longer, to a power of four of rows, so that few programs are compiled. They end
        with copies of the last row.
        """
        size = 4 ** math.ceil(math.log(len(rows), 4))
        index = _lengthened(rows, size).astype(self._backend.default_int)
        columns = self._arrays
        lengthened = tuple(_lengthened(values[name], size) for name in columns)
        backend: Any = self._backend
        return _writer(backend)(columns, index, lengthened)


def _has_large_rows(fields: Sequence[Field]) -> bool:
    return max(f.dtype.itemsize * math.prod(f.shape) for f in fields) >= LARGE_ROW


def _take(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return column.take(rows, axis=0)


def _take_aligned(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ``column[rows]`` in aligned memory, which XLA can use without a copy."""
    shape = (len(rows), *column.shape[1:])
    memory = np.empty(math.prod(shape) * column.itemsize + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    found = memory[start : start + memory.size - ALIGNMENT].view(column.dtype).reshape(shape)
    return column.take(rows, axis=0, out=found, mode="clip")


def _lengthened(values: np.ndarray, size: int) -> np.ndarray:
    """Return a new array of ``size`` rows: ``values``, then its last row again and again."""
    longer = np.empty((size, *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    longer[len(values) :] = values[-1]
    return longer


@cache  # backends are compared by identity
def _writer(backend: Any) -> Callable[[Params, Array, tuple[Array, ...]], Params]:
    """Return the compiled function that writes ``values`` [N, ...] of each column to ``rows`` [N]."""

    def write(columns: Params, rows: Array, values: tuple[Array, ...]) -> Params:
        return {
            name: backend.put(column, rows, value)
            for (name, column), value in zip(columns.items(), values, strict=True)
        }

    return backend.compile(write, donate=(0,))


def make_storage(backend: Backend, capacity: int, fields: Sequence[Field], ring_length: int) -> Storage:
    """Allocate ``capacity`` zero rows of each field."""
    if backend.shares_host_memory:
        return HostStorage(backend, capacity, fields)
    return DeviceStorage(backend, capacity, fields, ring_length)


class Lazily(Mapping[str, Array]):
    """A mapping that makes each value when it is looked up.

    Args:
        names: its keys.
        make: called with a key.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], Array]) -> None:
        self._names = tuple(names)
        self._make = make

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
