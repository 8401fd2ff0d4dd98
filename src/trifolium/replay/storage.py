"""Where the large columns of a buffer lie: in place where the host can write, else behind a stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from trifolium.backend import Array, Backend, Params
from trifolium.replay.checks import Field

__all__ = ["HostStorage", "Lazily", "StagedStorage", "Storage", "make_storage"]

STAGE_BYTES = 4 << 20
STAGE_ROWS = 1024


class HostStorage:
    """Columns that the host writes directly: NumPy arrays, torch tensors in host memory.

    Args:
        arrays: name to the backend's array.
        views: name to a writable NumPy view of it.
    """

    def __init__(self, arrays: Params, views: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._views = views

    @property
    def arrays(self) -> Params:
        """The columns in the backend's arrays, all that was written included."""
        return self._arrays

    def put(self, row: int, values: Mapping[str, np.ndarray]) -> None:
        """Write one row of every column; a column that is not in ``values`` becomes zero."""
        for name, view in self._views.items():
            view[row] = values.get(name, 0)

    def put_many(self, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write ``values[name]`` [N, ...] to ``rows`` [N], all different."""
        for name, value in values.items():
            self._views[name][rows] = value

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a host copy of ``rows`` [N] of a column."""
        return self._views[name][rows]

    def clear(self) -> None:
        """Forget what is not written yet: nothing here."""


class StagedStorage:
    """Columns out of the host's reach: rows gather in a stage and are written many at a time.

    ``arrays`` writes what is staged first, so what was put is always in what is read.

    Args:
        backend: owner of the columns.
        arrays: name to the backend's array.
        fields: the shape and dtype of each column.
        max_rows: rows of one stage at most; no row may be staged twice before it is written, and a
            ring of that length makes sure of it.
    """

    def __init__(
        self, backend: Backend, arrays: Params, fields: Sequence[Field], max_rows: int
    ) -> None:
        row_bytes = sum(f.dtype.itemsize * int(np.prod(f.shape)) for f in fields)
        size = max(1, min(STAGE_ROWS, max_rows, STAGE_BYTES // row_bytes))
        self._backend = backend
        self._arrays = arrays
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
        """Write one row of every column; a column that is not in ``values`` becomes zero."""
        slot = self._staged
        for name, stage in self._stage.items():
            stage[slot] = values.get(name, 0)
        self._rows[slot] = row
        self._advance(1)

    def put_many(self, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write ``values[name]`` [N, ...] to ``rows`` [N], all different."""
        count = len(rows)
        if count > len(self._rows):
            self._arrays = self._backend.write(self.arrays, rows, values)
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

    def clear(self) -> None:
        """Forget what is staged: the rows that come next may be the same ones."""
        self._staged = 0

    def _advance(self, count: int) -> None:
        self._staged += count
        if self._staged == len(self._rows):
            self._flush()

    def _flush(self) -> None:
        count, self._staged = self._staged, 0
        staged = {name: stage[:count] for name, stage in self._stage.items()}
        self._arrays = self._backend.write(self._arrays, self._rows[:count], staged)


Storage = HostStorage | StagedStorage


def make_storage(backend: Backend, capacity: int, fields: Sequence[Field], ring_length: int) -> Storage:
    """Allocate ``capacity`` zero rows of each field on the backend's device."""
    arrays = {f.name: backend.zeros((capacity, *f.shape), f.dtype.name) for f in fields}
    views = {name: backend.host_view(array) for name, array in arrays.items()}
    reachable = {name: view for name, view in views.items() if view is not None}
    if len(reachable) == len(views):
        return HostStorage(arrays, reachable)
    return StagedStorage(backend, arrays, fields, ring_length)


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
