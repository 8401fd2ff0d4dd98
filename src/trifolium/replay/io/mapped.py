"""MappedStore: the rows of a buffer in files that are mapped into memory.

After a kill at any moment ``Buffer.open`` finds the rows of the last flush, except those that were
overwritten since, wholly or in part. Rows that were added after the last flush are gone.

A flush writes all mapped files to the disk and then replaces one small file, the commit. It has the
cursors, the marks of the newest rows, the generator and the sampler. An older row does not change until
it is overwritten. The cursor ``written`` is mapped too, and a row is claimed there before any of it
is written. So the cursor that a killed process leaves shows which old rows may be half new; they are
dropped.

After a failure of the machine the files may hold some of the later writes and not others, and the
cursor may be old. So the file ``reserved`` has the largest number of rows that may have been written
since the commit, the number of the commit, and the boot of the machine. It goes to the disk before the
first row of a commit is overwritten. If the machine was started since, that many rows count as
written. The number is half a ring beyond the rows that overwrite nothing, or a chunk of ``extend`` that
is larger. The buffer flushes by itself before more rows than that are written.
"""

import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from trifolium._checks import Field
from trifolium.backend import Backend
from trifolium.replay.host.ring import LARGEST_INDEX
from trifolium.replay.host.store import Store
from trifolium.replay.io.folder import BufferFolder
from trifolium.replay.io.pieces import Saved, check_marks, check_successors, restore_successors
from trifolium.replay.rules.steps import Chunk, Step, Steps
from trifolium.replay.schema import BufferSpec

__all__ = ["MappedStore"]

ROWS_OF_A_STEP = 3  # at most: the boundary row before it, its own, the boundary row after it
CONVERTED_AT_ONCE = 1 << 16


class MappedStore(Store):
    """A store whose arrays are files of a folder.

    Args:
        backend: of the arrays that are returned; rows are copied to its device batch by batch.
        spec: the buffer's options.
        folder: where the files are.
        flush: a method that calls :meth:`commit`; held by a weak reference.
    """

    def __init__(
        self,
        backend: Backend,
        spec: BufferSpec,
        folder: BufferFolder,
        flush: Callable[[], None],
    ) -> None:
        self.folder = folder  # first, so that copying fails before a column is copied
        super().__init__(backend, spec, folder.array)
        self._live = self.ring.written
        self._reserved = folder.array("reserved", (4,), "int64")
        self._flush = weakref.WeakMethod(flush)
        self._process = os.getpid()
        self._number = 0  # of the last commit
        self._committed = self.ring.written.copy()
        self._free = 0  # rows of each stream that overwrite nothing that is committed
        self._budget = 0  # rows that may be written before _renew
        self._replaced = np.zeros(0, np.int64), np.zeros(0, np.uint8)  # marks, by recover

    # Writing

    def put(self, stream: int, step: Step) -> None:
        """See :meth:`Store.put`."""
        self._make_room(ROWS_OF_A_STEP)
        super().put(stream, step)

    def put_idle(self, stream: int, mark: int, columns: Mapping[str, np.ndarray]) -> None:
        """See :meth:`Store.put_idle`."""
        self._make_room(1)
        super().put_idle(stream, mark, columns)

    def put_each(self, steps: Steps, streams: np.ndarray | None = None) -> None:
        """See :meth:`Store.put_each`."""
        self._make_room(ROWS_OF_A_STEP)
        super().put_each(steps, streams)

    def put_chunk(self, streams: np.ndarray, steps: Chunk) -> None:
        """See :meth:`Store.put_chunk`."""
        self._make_room(2 * len(steps.terminated) + 1)
        super().put_chunk(streams, steps)

    def put_stream(self, stream: int, other: Store, source: int) -> None:
        """See :meth:`Store.put_stream`."""
        self._make_room(min(int(other.ring.sizes[source]), self.ring.length) + 2)
        super().put_stream(stream, other, source)

    def end_episode(self, stream: int) -> None:
        """See :meth:`Store.end_episode`."""
        self._make_room(1)
        super().end_episode(stream)

    def clear(self) -> None:
        """See :meth:`Store.clear`."""
        super().clear()
        self._budget = 0  # the cursors moved

    # Files

    def commit(self, manifest: Mapping[str, Any], sampler: Mapping[str, np.ndarray]) -> None:
        """Make the rows durable, and with them the manifest of a buffer and the sampler's state."""
        self._check_process()
        rows = {
            "written": self.ring.written,
            "sizes": self.ring.sizes,
            "newest": self.ring.newest_marks,
            "has_successor": self.successors.waiting,
            "number": np.array([self._number + 1]),
        }
        rows |= {f"successor.{name}": given for name, given in self.successors.arrays.items()}
        arrays = {f"sampler.{name}": array for name, array in sampler.items()}
        arrays |= {f"rows.{name}": array for name, array in rows.items()}
        self.folder.commit(manifest, arrays)
        self._number += 1
        self._start_budget()

    def recover(self, state: Mapping[str, Saved], action_dtype: str) -> bool:
        """Set the rows of a commit that are whole; the live cursor stays until :meth:`settle`.

        Args:
            state: the arrays of :meth:`commit` that begin with "rows.", without that.
            action_dtype: of the actions in the folder; they are converted to that of the spec.

        Returns:
            Whether rows of the commit are missing or were converted: it must be replaced.
        """
        ring, n_streams = self.ring, self.ring.n_streams
        self._number = int(_cursor(state, "number", 1)[0])
        written, sizes = (_cursor(state, name, n_streams) for name in ("written", "sizes"))
        newest = _cursor(state, "newest", n_streams, "uint8")
        self._check_cursors(written)
        whole = np.clip(written + ring.length - self._claimed(written), 0, sizes)
        ring.written = self._live.copy()
        ring.restore(written, sizes)
        ring.restore(written, whole)
        stored = np.flatnonzero(whole > 0)
        rows = ring.rows(stored, written[stored] - 1)
        check_marks(newest[stored])
        for some in ring.rows_by_age(CONVERTED_AT_ONCE):
            check_marks(ring.marks[some[~np.isin(some, rows)]])
        has_successors = any("successor" in name for name in state)  # older ones have none
        if has_successors:
            check_successors(self.spec, state)
        self._replaced = rows, ring.marks[rows]
        ring.marks[rows] = newest[stored]
        ring.find_newest()
        if has_successors:
            waits = np.asarray(state["has_successor"]) & (whole > 0)
            restore_successors(self, {**state, "has_successor": waits})
        if action_dtype != self.spec.action_dtype:
            self._convert_actions(action_dtype)
        return bool(np.any(whole != sizes)) or action_dtype != self.spec.action_dtype

    def abandon(self) -> None:
        """Leave the files as they were before :meth:`recover`."""
        rows, marks = self._replaced
        self.ring.marks[rows] = marks

    def settle(self) -> None:
        """Let the next rows be written after those that were recovered."""
        self._live[:] = self.ring.written
        self.ring.written = self._live
        self._start_budget()

    def _check_cursors(self, written: np.ndarray) -> None:
        """Raise ValueError where no process can have left such live cursors."""
        numbers = np.concatenate([self._live, self._reserved[:2], [self._number], written])
        most = LARGEST_INDEX // self.ring.n_streams
        if np.any((numbers < 0) | (numbers > most)):
            raise ValueError(f"cursors from {numbers.min()} to {numbers.max()}; expected 0 to {most}")

    def _claimed(self, written: np.ndarray) -> np.ndarray:
        """Return how many rows of each stream may have been written, ever."""
        claimed = np.maximum(self._live, written)
        number, rows, *boot = self._reserved.tolist()
        if number == self._number and boot != _boot():
            claimed = np.maximum(claimed, written + rows)
        return claimed

    def _convert_actions(self, dtype: str) -> None:
        found = self.folder.array("actions", self.actions.shape, dtype)
        field = Field("action", self.spec.action_shape, self.spec.action_dtype)
        for stream in range(self.ring.n_streams):
            end = int(self.ring.written[stream])
            for start in range(end - int(self.ring.sizes[stream]), end, CONVERTED_AT_ONCE):
                serials = np.arange(start, min(start + CONVERTED_AT_ONCE, end))
                rows = self.ring.rows(stream, serials)
                self.actions[rows] = field.rows(found[rows], len(rows))
        self.folder.drop("actions", dtype)

    # Room

    def _start_budget(self) -> None:
        ring = self.ring
        self._committed = ring.written.copy()
        sizes = ring.sizes[ring.sizes > 0]  # a stream of which no row is committed has nothing to lose
        self._free = ring.length - int(sizes.max()) if len(sizes) else 1 << 62
        self._budget = 0

    def _make_room(self, count: int) -> None:
        """Call before at most ``count`` rows of a stream are written."""
        self._budget -= count
        if self._budget < 0:
            self._renew(count)

    def _renew(self, count: int) -> None:
        """Allow ``count`` rows or more, after the number that is allowed is on the disk."""
        self._check_process()
        half = max(self.ring.length // 2, ROWS_OF_A_STEP)
        used = int((self.ring.written - self._committed).max())
        if used + count > self._allowed():
            if used > self._free:
                flush = self._flush()
                assert flush is not None  # whoever writes a row holds the buffer
                flush()
                used = 0
            if used + count > self._free:
                self._reserved[1:] = max(self._free + half, used + count), *_boot()
                self._reserved[0] = self._number
                self.folder.sync("reserved", "int64")
        self._budget = self._allowed() - used - count

    def _allowed(self) -> int:
        """Return how many rows of each stream may be written after the last commit."""
        if self._reserved.item(0) == self._number:
            return max(self._free, self._reserved.item(1))
        return self._free

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"a forked process writes to the buffer in {self.folder.path!r}, which belongs to the "
                "process that opened it; send steps to that process instead"
            )


def _cursor(state: Mapping[str, Saved], name: str, count: int, dtype: str = "int64") -> np.ndarray:
    found = state[name]
    if found.shape != (count,) or found.dtype != dtype:
        raise ValueError(f"{name} has shape {found.shape} and dtype {found.dtype}")
    return np.asarray(found)


def _boot() -> list[int]:
    """Return two numbers that no other start of this machine has; zeros where it has none."""
    with suppress(OSError, ValueError), open("/proc/sys/kernel/random/boot_id") as file:
        number = int(file.read().strip().replace("-", ""), 16) >> 2
        return [number >> 63, number & ((1 << 63) - 1)]
    return [0, 0]
