"""The large columns of a buffer, in the host's memory or on the device: observations and extras."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import numpy as np

from trifolium.backend import AnyArray, Backend, Params, get_backend
from trifolium.replay.batch import Batch
from trifolium.replay.host.blocks import SMALLEST, Blocks
from trifolium.replay.host.memory import Memory, zeros
from trifolium.replay.rules.assemble import Packed, Plan, apart, assemble, assembler, gather
from trifolium.replay.schema import BufferSpec

__all__ = ["Columns", "DeviceColumns", "HostColumns", "make_columns"]

STAGE_BYTES = 4 << 20
STAGE_ROWS = 1024
LARGE_ROW = 64  # bytes of a row


class Columns(Protocol):
    """The leaves of observations and the extras, by the names of ``BufferSpec.columns``.

    Attributes:
        lends_storage: whether :meth:`material` returns the stored columns themselves.
    """

    lends_storage: bool

    def put(self, row: int, values: Mapping[str, Any]) -> None:
        """Write one row of every column; a column that is not in ``values`` becomes zero."""
        ...

    def put_many(self, rows: np.ndarray | slice, values: Mapping[str, np.ndarray]) -> None:
        """Write ``values[name]`` [N, ...] to ``rows``: [N], all different, or a slice of N."""
        ...

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        ...

    def copied(self, name: str) -> AnyArray:
        """Return a copy of a column in the backend's arrays."""
        ...

    def batch(self, plan: Plan, flatten: bool) -> Batch:
        """Return the batch of a plan; ``flatten`` as for :meth:`trifolium.Buffer.sample`."""
        ...

    def material(self, plan: Plan) -> tuple[Params, Plan | Packed]:
        """Return what a compiled update makes the batch of a plan from.

        On a device with a memory of its own these are the stored columns, which must be read at once,
        and neither written nor kept. On the host the rows are gathered already.
        """
        ...

    def clear(self) -> None:
        """Drop what is not written yet: the rows that come next may be the same ones."""
        ...


class HostColumns:
    """Columns in NumPy arrays, for backends whose arrays share the host's memory.

    NumPy gathers small rows faster than any framework starts to, and writes them in place.

    Args:
        backend: of the arrays that are returned; batches are copied to its device.
        spec: of the buffer.
        memory: makes the columns.
    """

    lends_storage = False

    def __init__(self, backend: Backend, spec: BufferSpec, memory: Memory = zeros) -> None:
        self._backend, self._host, self._spec = backend, get_backend("numpy"), spec
        self._columns = {
            field.name: memory(f"column-{number}", (spec.capacity, *field.shape), field.dtype.name)
            for number, field in enumerate(spec.columns)
        }
        self._width = len(self._columns)
        self._only = self._columns[spec.columns[0].name] if self._width == 1 else None
        self._rows = self._as_items()
        self._blocks = Blocks()
        # large stacks that can't overlap are gathered twice, not copied out of overlapping ones
        is_large = max(field.nbytes for field in spec.columns) >= LARGE_ROW
        self._stays_apart = not backend.capabilities.views and spec.n_frames > 1 and is_large

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_rows"]  # a copy of a view would be an array of its own
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rows = self._as_items()

    def put(self, row: int, values: Mapping[str, Any]) -> None:
        """Write one row; see :class:`Columns`."""
        if self._only is not None and values:
            (self._only[row],) = values.values()
            return
        columns = self._columns
        for name, value in values.items():
            columns[name][row] = value
        if len(values) < self._width:
            self._clear_others(row, values)

    def put_many(self, rows: np.ndarray | slice, values: Mapping[str, np.ndarray]) -> None:
        """Write many rows; see :class:`Columns`."""
        for name, value in values.items():
            column, whole = self._columns[name], self._rows[name]
            if value.dtype == column.dtype and value.flags.c_contiguous:
                whole[rows] = value.reshape(-1).view(whole.dtype)
            else:
                column[rows] = value
        if len(values) < self._width:
            self._clear_others(rows, values)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        return self._columns[name][rows]

    def copied(self, name: str) -> AnyArray:
        """Return a copy of a column in the backend's arrays."""
        return self._backend.from_numpy(self._columns[name].copy())

    def batch(self, plan: Plan, flatten: bool) -> Batch:
        """Return the batch of a plan; see :class:`Columns`."""
        backend = self._backend
        if backend is self._host:
            return self.host_batch(plan, flatten)
        if backend.capabilities.views:
            return self.host_batch(plan, flatten).each(backend.from_numpy)
        if self._stays_apart:
            return self.host_batch(apart(plan, self._spec), flatten).each(backend.from_numpy)
        packed = gather(np, self._take, self._spec, self._columns, plan, _zero)
        return assembler(backend, self._spec, flatten=flatten)({}, packed)  # one call for all arrays

    def host_batch(self, plan: Plan, flatten: bool) -> Batch:
        """Return the batch of a plan in NumPy's arrays."""
        packed = gather(np, self._take, self._spec, self._columns, plan, _zero)
        return assemble(self._host, self._spec, {}, packed, flatten=flatten)

    def material(self, plan: Plan) -> tuple[Params, Packed]:
        """Return the rows of a batch, gathered; see :class:`Columns`."""
        packed = gather(np, self._take, self._spec, self._columns, plan, _zero)
        if packed.frames[0].nbytes < SMALLEST:
            return {}, packed
        native = self._backend.from_numpy  # without the copy that a compiled function makes
        return {}, packed._replace(
            frames=tuple([native(each) for each in packed.frames]),
            next_frames=packed.next_frames and tuple([native(each) for each in packed.next_frames]),
        )

    def clear(self) -> None:
        """Drop what is not written yet: nothing here."""

    def _as_items(self) -> dict[str, np.ndarray]:
        """Return views of the columns that have each row as one item, which is written faster."""
        return {
            name: column.reshape(-1).view(f"V{column.nbytes // len(column)}")
            for name, column in self._columns.items()
        }

    def _take(self, column: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return ``column[rows]``, in a block where it is large."""
        if len(rows) * column.strides[0] < SMALLEST:
            return column.take(rows, axis=0)
        # rows are in range; mode="clip" makes NumPy write to `out` without a copy
        out = self._blocks.empty((len(rows), *column.shape[1:]), column.dtype)
        return column.take(rows, axis=0, out=out, mode="clip")

    def _clear_others(self, rows: int | np.ndarray | slice, values: Mapping[str, Any]) -> None:
        """Write zeros to ``rows`` of the columns that are not in ``values``."""
        for name in self._columns.keys() - values.keys():
            self._columns[name][rows] = 0


class DeviceColumns:
    """Columns in a device's own memory: rows are collected in a stage, and written many at a time.

    ``arrays`` writes what is staged first, so every row that was put is read.

    Args:
        backend: owner of the columns.
        spec: of the buffer. A stage has at most the rows of one ring: so no row is staged twice before
            it is written.
    """

    lends_storage = True

    def __init__(self, backend: Backend, spec: BufferSpec) -> None:
        fields = spec.columns
        row_bytes = sum(field.nbytes for field in fields)
        size = max(1, min(STAGE_ROWS, spec.window.length, STAGE_BYTES // row_bytes))
        self._backend, self._spec = backend, spec
        fields = tuple(sorted(fields, key=lambda field: field.name))  # the order of JAX's pytrees
        self._arrays = {f.name: backend.zeros((spec.capacity, *f.shape), f.dtype.name) for f in fields}
        self._stage = {f.name: np.zeros((size, *f.shape), f.dtype) for f in fields}
        self._rows = np.zeros(size, np.int64)
        self._staged = 0

    @property
    def arrays(self) -> Params:
        """The columns in the backend's arrays, all that was written included."""
        if self._staged:
            self._flush()
        return self._arrays

    def put(self, row: int, values: Mapping[str, Any]) -> None:
        """Write one row; see :class:`Columns`."""
        slot = self._staged
        for name, stage in self._stage.items():
            stage[slot] = values.get(name, 0)
        self._rows[slot] = row
        self._advance(1)

    def put_many(self, rows: np.ndarray | slice, values: Mapping[str, np.ndarray]) -> None:
        """Write many rows; see :class:`Columns`."""
        if isinstance(rows, slice):
            rows = np.arange(rows.start, rows.stop)
        count = len(rows)
        if count > len(self._rows):
            self._flush()
            self._write(rows, {name: values.get(name) for name in self._stage})
            return
        if self._staged + count > len(self._rows):
            self._flush()
        slots = slice(self._staged, self._staged + count)
        for name, stage in self._stage.items():
            stage[slots] = values.get(name, 0)
        self._rows[slots] = rows
        self._advance(count)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        index = self._backend.from_numpy(rows.astype(self._backend.default_int))
        return self._backend.to_numpy(self._backend.take(self.arrays[name], index))

    def copied(self, name: str) -> AnyArray:
        """Return a copy of a column in the backend's arrays."""
        array = self.arrays[name]
        rows = np.arange(array.shape[0], dtype=self._backend.default_int)
        return self._backend.take(array, self._backend.from_numpy(rows))

    def batch(self, plan: Plan, flatten: bool) -> Batch:
        """Return the batch of a plan; see :class:`Columns`."""
        return assembler(self._backend, self._spec, flatten=flatten)(self.arrays, plan)

    def material(self, plan: Plan) -> tuple[Params, Plan]:
        """Return the columns, and the plan as it is; see :class:`Columns`."""
        return self.arrays, plan

    def clear(self) -> None:
        """Drop what is staged: the rows that come next may be the same ones."""
        self._staged = 0

    def _advance(self, count: int) -> None:
        self._staged += count
        if self._staged == len(self._rows):
            self._flush()

    def _flush(self) -> None:
        count, self._staged = self._staged, 0
        if count:
            staged = {name: stage[:count] for name, stage in self._stage.items()}
            self._write(self._rows[:count], staged)

    def _write(self, rows: np.ndarray, values: Mapping[str, np.ndarray | None]) -> None:
        """Write ``values`` [N, ...] of each column, zeros where they are None, to ``rows`` [N].

        Arrays are made longer, to a power of four of rows, so that few programs are compiled: they end
        with copies of the last row.
        """
        size = 4 ** math.ceil(math.log(len(rows), 4))
        index = _lengthened(rows, size).astype(self._backend.default_int)
        longer = []
        for stage, value in zip(self._stage.values(), values.values(), strict=True):
            blank = np.zeros((1, *stage.shape[1:]), stage.dtype)
            longer.append(_lengthened(blank if value is None else value, size))
        backend: Any = self._backend
        self._arrays = _writer(backend)(self._arrays, index, tuple(longer))


def make_columns(backend: Backend, spec: BufferSpec, memory: Memory = zeros) -> Columns:
    """Return columns where the backend's arrays are, or in ``memory`` if that is not ``zeros``."""
    if backend.shares_host_memory or memory is not zeros:
        return HostColumns(backend, spec, memory)
    return DeviceColumns(backend, spec)


def _zero(_: Any, frames: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Write zeros to ``frames`` [N, ...] where they are not ``kept`` [N] bool."""
    if np.count_nonzero(kept) < len(kept):
        frames[~kept] = 0
    return frames


def _lengthened(values: np.ndarray, size: int) -> np.ndarray:
    """Return a new array of ``size`` rows: ``values``, then copies of its last row."""
    longer = np.empty((size, *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    longer[len(values) :] = values[-1]
    return longer


@cache  # backends are compared by identity
def _writer(backend: Backend) -> Callable[[Params, AnyArray, tuple[AnyArray, ...]], Params]:
    """Return the compiled function that writes ``values`` [N, ...] of each column to ``rows`` [N]."""

    def write(columns: Params, rows: AnyArray, values: tuple[AnyArray, ...]) -> Params:
        return {
            name: backend.put(column, rows, value)
            for (name, column), value in zip(columns.items(), values, strict=True)
        }

    return backend.compile(write, donate=(0,))
