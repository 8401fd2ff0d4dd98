"""The rows of a buffer: where they lie, how they are written, what a draw needs of them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from trifolium._checks import Field
from trifolium.backend import Backend, Params
from trifolium.replay.host.columns import make_columns
from trifolium.replay.host.kernels import Kernels, kernels, start
from trifolium.replay.host.locks import new_lock
from trifolium.replay.host.memory import Memory, zeros
from trifolium.replay.host.ring import Ring
from trifolium.replay.host.successors import EVERY, Successors
from trifolium.replay.rules.assemble import Plan
from trifolium.replay.rules.chunk import (
    Cuts,
    chosen,
    chosen_marks,
    find_cuts,
    layout,
    step_marks,
)
from trifolium.replay.rules.marks import (
    BOUNDARY,
    FIRST,
    LOST,
    NO_TRANSITION,
    TERMINATED,
    TRUNCATED,
    UNKNOWN,
)
from trifolium.replay.rules.runs import unbroken
from trifolium.replay.rules.steps import Chunk, Step, Steps
from trifolium.replay.rules.windows import scalars, stack, valid, windows
from trifolium.replay.schema import BufferSpec

__all__ = ["Store"]

_ALL = slice(None)
_NOW_AND_NEXT = np.array([[0], [1]])
_EVERY_MARK = np.arange(256)
_IS_TERMINATED = ((_EVERY_MARK & TERMINATED) != 0).astype(np.float32)
_IS_VALID = ((_EVERY_MARK & (NO_TRANSITION | UNKNOWN)) == 0).astype(np.float32)


class Store:
    """Observations and extras in columns of the backend; marks, actions and rewards on the host.

    The small columns are on the host so that n-step sums are the same to the bit on every backend, and
    so that the device has one gather for each large column.

    Args:
        backend: where the large columns lie.
        spec: the buffer's options.
        memory: makes the arrays with a row for each row of the buffer; if it is not ``zeros``, large
            columns too are on the host.

    Attributes:
        ring: cursors and marks.
        columns: the leaves of observations and the extras.
        actions: [capacity, *action_shape].
        rewards: [capacity] float32.
        successors: the observations given after the newest steps, which are no rows yet.
        lock: held by whoever calls a method, where several threads use the buffer. It is no part of a
            copy: that has its own.
    """

    def __init__(self, backend: Backend, spec: BufferSpec, memory: Memory = zeros) -> None:
        start()
        self.lock = new_lock(self)
        self.spec = spec
        self.window = spec.window
        self.ring = Ring(
            spec.capacity, spec.n_streams, spec.n_frames, pad=self.window.pad, memory=memory
        )
        self.columns = make_columns(backend, spec, memory)
        self.actions = memory("actions", (spec.capacity, *spec.action_shape), spec.action_dtype)
        self.rewards = memory("rewards", (spec.capacity,), "float32")
        self.successors = Successors(spec)
        self._all_streams = np.arange(spec.n_streams)
        self._action = Field("action", spec.action_shape, spec.action_dtype)
        self._is_plain = spec.n_frames == 1 and spec.n_step == 1
        self._powers = spec.gamma ** np.arange(spec.n_step + 1)
        self._blank = np.ones((5, 0), np.float32)  # scalars of the last batch, where all are alike

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = new_lock(self)

    # Writing

    def put(self, stream: int, step: Step) -> None:
        """Write one step, and the observation after it where a truncation makes that a row."""
        mark, columns, action, reward, following = step
        successors = self.successors
        if following is not None and not mark and successors.passed_on(stream, columns, following):
            following = None  # as in most steps
        elif successors.any and not successors.held(stream, columns):
            self._cut(self._all_streams[stream : stream + 1])
        row = self.ring.append(stream, mark)
        self.columns.put(row, columns)
        self.actions[row], self.rewards[row] = action, reward
        if following is not None:
            if not mark:
                successors.give(stream, following)
            elif mark & TRUNCATED:
                self.put_idle(stream, BOUNDARY, following)

    def put_idle(self, stream: int, mark: int, columns: Mapping[str, np.ndarray]) -> None:
        """Write a row that is no step: zeros in every column that is not given."""
        row = self.ring.append(stream, mark)
        self.columns.put(row, columns)
        self.actions[row] = 0
        self.rewards[row] = 0.0

    def put_each(self, steps: Steps, streams: np.ndarray | None = None) -> None:
        """Write one step of every stream, or of ``streams`` [N] alone."""
        marks, columns, actions, rewards, following = steps
        which: slice | np.ndarray
        all_go_on = streams is None and following is not None and not np.count_nonzero(marks)
        if all_go_on and self.successors.passed_on(EVERY, columns, following or {}):
            self._write(self.ring.append_each(marks), columns, actions, rewards)
            return  # as in most steps
        if streams is None:
            which, rows_of_steps = _ALL, self.ring.append_each
        else:
            if not len(streams):
                return
            which = streams
            marks, actions, rewards = marks[which], actions[which], rewards[which]
            columns = {name: value[which] for name, value in columns.items()}
            rows_of_steps = partial(self.ring.append_some, which)
        if self.successors.any:
            places = self.successors.unlike(which, columns)
            if len(places):
                self._cut(self._all_streams[which][places])
            if following is None:
                self.successors.drop(which)
        self._write(rows_of_steps(marks), columns, actions, rewards)
        if following is None:
            return
        if streams is not None:
            following = {name: value[which] for name, value in following.items()}
        goes_on = marks == 0
        self.successors.give_each(which, following, goes_on)
        if np.count_nonzero(goes_on) < len(goes_on):
            cut = np.flatnonzero((marks & (TRUNCATED | TERMINATED)) == TRUNCATED)
            if len(cut):
                after = {name: each[cut] for name, each in following.items()}
                self._put_boundaries(self._all_streams[which][cut], after)

    def _write(
        self, rows: np.ndarray | slice, columns: Mapping[str, np.ndarray], actions: Any, rewards: Any
    ) -> None:
        """Write ``rows``, [N] or a slice of N, which were claimed."""
        self.columns.put_many(rows, columns)
        self.actions[rows], self.rewards[rows] = actions, rewards

    def put_chunk(self, streams: np.ndarray, steps: Chunk) -> None:
        """Write T steps of each of ``streams`` [S]."""
        ring, n_steps = self.ring, len(steps.terminated)
        waits = self.successors.waiting[streams]
        given = self.successors.arrays.items() if waits.any() else ()
        cuts = find_cuts(np, steps, waits, {name: value[streams] for name, value in given})
        if cuts.start.any():
            self._cut(streams[cuts.start])
            cuts = cuts._replace(start=np.zeros_like(cuts.start))
        unknown = steps.truncated if steps.following is None else None
        marks = step_marks(
            np, np.uint8, ring.opens(streams), steps.terminated, steps.truncated, cuts, unknown
        )
        if len(streams) == 1 and not cuts.after.any():
            self._put_run(streams.item(0), steps, marks[:, 0])
        else:
            self._put_layout(streams, steps, marks, cuts)
        ring.find_newest()
        if steps.following is None:
            self.successors.drop(streams)
        else:
            last = slice((n_steps - 1) * len(streams), None)
            goes_on = ~(steps.terminated[-1] | steps.truncated[-1])
            newest_ones = {name: value[last] for name, value in steps.following.items()}
            self.successors.give_each(streams, newest_ones, goes_on)

    def _put_run(self, stream: int, steps: Chunk, marks: np.ndarray) -> None:
        """Write T steps of one stream, with these ``marks`` [T], as consecutive rows."""
        ring, length = self.ring, self.ring.length
        ring.advance(self._all_streams[stream : stream + 1], np.array([len(marks)]))
        count = min(len(marks), length)
        place, done = (ring.written.item(stream) - count) % length, len(marks) - count
        while done < len(marks):  # twice, where the ring ends in between
            part = slice(done, min(done + length - place, len(marks)))
            first = stream * length + place
            rows = slice(first, first + part.stop - part.start)
            columns = {name: each[part] for name, each in steps.columns.items()}
            self._write(rows, columns, steps.actions[part], steps.rewards[part])
            ring.marks[rows] = marks[part]
            place, done = 0, part.stop

    def _put_layout(self, streams: np.ndarray, steps: Chunk, marks: np.ndarray, cuts: Cuts) -> None:
        """Write T steps of ``streams`` [S], with ``marks`` [T, S], and the boundary rows after them."""
        ring, n_steps = self.ring, len(marks)
        if cuts.after.any():
            places = layout(np, cuts, min(2 * n_steps, ring.length), np.int64)
            written = np.flatnonzero(places.offsets >= 0)
            offsets, counts = places.offsets, places.count

            def held(name: str, values: np.ndarray) -> np.ndarray:
                following = (steps.following or {}).get(name)
                found: np.ndarray = chosen(np, places, values, following, None)[written]
                return found

            new_marks = chosen_marks(np, places, marks)[written]
        else:
            kept = min(n_steps, ring.length)
            written = np.arange((n_steps - kept) * len(streams), n_steps * len(streams))
            offsets = np.arange(n_steps)[:, None] + np.zeros_like(streams)
            counts = np.full(len(streams), n_steps)
            newest = slice(int(written[0]), None)

            def held(name: str, values: np.ndarray) -> np.ndarray:  # noqa: ARG001
                return values[newest]

            new_marks = marks.reshape(-1)[newest]
        serials = (ring.written[streams] + offsets).reshape(-1)[written]
        rows = ring.rows(np.tile(streams, len(offsets))[written], serials)
        ring.advance(streams, counts)
        columns = {name: held(name, each) for name, each in steps.columns.items()}
        self._write(rows, columns, held("", steps.actions), held("", steps.rewards))
        ring.marks[rows] = new_marks

    def end_episode(self, stream: int) -> None:
        """Make the next row of ``stream`` the first of an episode; see :meth:`Ring.end_episode`.

        If the successor of the newest step was given, it is written as a boundary row.
        """
        if self.successors.waiting[stream]:
            self._cut(self._all_streams[stream : stream + 1])
        else:
            self.ring.end_episode(stream)

    def _cut(self, streams: np.ndarray) -> None:
        """End episodes after the newest steps of ``streams`` [N], with the successors given."""
        given = {name: each[streams] for name, each in self.successors.arrays.items()}
        self.successors.drop(streams)
        self.ring.cut(streams)
        self._put_boundaries(streams, given)

    def _put_boundaries(self, streams: np.ndarray, columns: Params) -> None:
        """Write a boundary row with these ``columns`` [N, ...] to each of ``streams`` [N]."""
        rows = self.ring.append_some(streams, np.full(len(streams), BOUNDARY, np.uint8))
        self._write(rows, columns, 0, 0.0)

    def check_actions(self, other: "Store") -> None:
        """Raise TypeError if some action of ``other`` can't be stored here without change."""
        for source in range(other.ring.n_streams):
            actions = other.actions[other.ring.stored_rows(source)]
            self._action.rows(actions, len(actions))

    def put_stream(self, stream: int, other: "Store", source: int) -> None:
        """Append the newest rows of stream ``source`` of ``other``, as many as fit."""
        rows = other.ring.stored_rows(source)[-self.ring.length :]
        if not len(rows):
            return
        marks, actions, rewards = other.ring.marks[rows], other.actions[rows], other.rewards[rows]
        columns = {field.name: other.columns.read(field.name, rows) for field in self.spec.columns}
        if not marks[0] & FIRST:
            marks[0] |= LOST
        self.end_episode(stream)
        written = self.ring.append_run(stream, marks)
        self.columns.put_many(written, columns)
        self.actions[written] = actions
        self.rewards[written] = rewards
        if other.successors.waiting[source]:
            given = {name: each[source] for name, each in other.successors.arrays.items()}
            self.successors.give(stream, given)
        self.end_episode(stream)

    def clear(self) -> None:
        """Remove all rows."""
        self.ring.clear()
        self.columns.clear()
        self.successors.drop(slice(None))

    # Reading

    def plan(self, streams: np.ndarray, serials: np.ndarray, weights: np.ndarray | None = None) -> Plan:
        """Return the plan of a batch of the rows with these ``serials`` [N] of ``streams`` [N]."""
        compiled = kernels()
        if compiled is not None and self.window.n_step == 1:
            return self._compiled_plan(compiled, streams, serials, weights)
        if self._is_plain:
            ring = self.ring
            newest = (ring.written.item(0) if ring.n_streams == 1 else ring.written[streams]) - 1
            both = np.minimum(serials + _NOW_AND_NEXT, newest)  # a terminated newest row has no next
            return self._plain_plan(ring.rows(streams, both), weights)
        rows, older, newer = self._places(streams, serials)
        found = windows(np, self.ring.marks, rows, older, newer, self.window)
        numbers = np.empty((5, len(rows)), np.float32)
        numbers[0], numbers[1], numbers[2], numbers[3] = scalars(np, self.rewards, found, self._powers)
        numbers[4] = 1.0 if weights is None else weights
        frames = found.frames(np, self.window)
        return Plan(*frames, self._actions_of(rows), numbers[:, :, None])

    def valid_rows(self, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return [N] bool: which drawable rows ``sample`` would return as valid."""
        rows, older, _ = self._places(streams, serials)
        whole = stack(np, self.ring.marks, rows, older, self.window).whole
        found: np.ndarray = valid(np, self.ring.marks, rows, whole)
        return found

    def unbroken(self, streams: np.ndarray, firsts: np.ndarray, length: int) -> np.ndarray:
        """Return [N] bool: which runs of ``length`` rows lie in one episode and have no idle row.

        Args:
            streams: [N].
            firsts: [N], the serials of the first rows.
            length: rows in a run.
        """
        serials = (firsts[:, None] + np.arange(length)).reshape(-1)
        rows = self.ring.rows(np.repeat(streams, length), serials)
        found: np.ndarray = unbroken(np, self.ring.marks[rows].reshape(-1, length))
        return found

    def recent(self, stream: int) -> list[np.ndarray]:
        """Return the newest n_frames - 1 observations, oldest first; zeros for earlier episodes.

        Returns:
            An array [n_frames - 1, *shape] for each leaf.
        """
        rows = self.ring.open_episode_rows(stream, self.spec.n_frames - 1)
        found = []
        for leaf in self.spec.leaves:
            frames = np.zeros((leaf.n_frames - 1, *leaf.shape), leaf.dtype)
            newest = rows[max(0, len(rows) - len(frames)) :]
            if len(newest):
                frames[len(frames) - len(newest) :] = self.columns.read(leaf.column, newest)
            found.append(frames)
        return found

    def _plain_plan(self, both: np.ndarray, weights: np.ndarray | None) -> Plan:
        """Return the plan of rows and successors [2, N] where states are single frames, n_step is 1.

        It is what :meth:`plan` would return, in a third of the time: a row's own mark is all that
        matters then, and its successor is the row after it.
        """
        rows = both[0]
        if self._blank.shape[1] != len(rows):
            self._blank = np.ones((5, len(rows)), np.float32)
            self._blank[3] = self._powers[1]
        numbers = self._blank.copy()
        marks = self.ring.marks.take(rows).astype(np.intp)
        # rows are in range; mode="clip" makes NumPy write to `out` without a copy
        self.rewards.take(rows, out=numbers[0], mode="clip")
        _IS_TERMINATED.take(marks, out=numbers[1], mode="clip")
        _IS_VALID.take(marks, out=numbers[2], mode="clip")
        if weights is not None:
            numbers[4] = weights
        actions = self._actions_of(rows)
        return Plan(both.reshape(-1), None, None, None, actions, numbers[:, :, None])

    def _compiled_plan(
        self, compiled: Kernels, streams: np.ndarray, serials: np.ndarray, weights: np.ndarray | None
    ) -> Plan:
        """Return what :meth:`plan` would return without kernels."""
        ring, window, count = self.ring, self.window, len(serials)
        each = window.n_frames + 1
        rows, kept = np.empty(count * each, np.int64), np.empty(count * each, bool)
        numbers = np.empty((5, count), np.float32)
        # arrays of mapped files are of a type of their own, which numba does not know
        marks, rewards, written = map(np.asarray, (ring.marks, self.rewards, ring.written))
        is_whole = compiled.plan(
            (streams, serials),
            (written, ring.sizes),
            (marks, rewards),
            (ring.length, window.n_frames, int(window.pad)),
            self._powers.item(1),
            (rows, kept, numbers),
        )
        if weights is not None:
            numbers[4] = weights
        own = rows[:count] if each == 2 else rows[window.n_frames - 1 :: each]
        needed = None if is_whole or not window.pad else kept
        return Plan(rows, needed, None, None, self._actions_of(own), numbers[:, :, None])

    def _actions_of(self, rows: np.ndarray) -> np.ndarray:
        actions = self.actions.take(rows, axis=0)
        return actions if actions.ndim > 1 else actions[:, None]

    # Helpers

    def _places(
        self, streams: np.ndarray, serials: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (rows, older, newer), each [N]; see :mod:`trifolium.replay.rules.windows`."""
        ring = self.ring
        one = ring.n_streams == 1
        written = ring.written[0] if one else ring.written[streams]
        size = ring.sizes[0] if one else ring.sizes[streams]
        newer = written - 1 - serials
        return ring.rows(streams, serials), size - 1 - newer, newer
