"""The rows of a buffer: where they lie, how they are written, what a draw needs of them."""

from collections.abc import Mapping

import numpy as np

from trifolium._checks import Field
from trifolium.backend import Backend
from trifolium.replay.host.columns import make_columns
from trifolium.replay.host.ring import Ring
from trifolium.replay.rules.assemble import Plan
from trifolium.replay.rules.marks import BOUNDARY, FIRST, LOST, NO_TRANSITION, TERMINATED, UNKNOWN
from trifolium.replay.rules.steps import Step, Steps
from trifolium.replay.rules.windows import scalars, stack, valid, windows
from trifolium.replay.schema import BufferSpec

__all__ = ["Store"]

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

    Attributes:
        ring: cursors and marks.
        columns: the leaves of observations and the extras.
        actions: [capacity, *action_shape].
        rewards: [capacity] float32.
    """

    def __init__(self, backend: Backend, spec: BufferSpec) -> None:
        self.spec = spec
        self.window = spec.window
        self.ring = Ring(spec.capacity, spec.n_streams, spec.n_frames, pad=self.window.pad)
        self.columns = make_columns(backend, spec)
        self.actions = np.zeros((spec.capacity, *spec.action_shape), spec.action_dtype)
        self.rewards = np.zeros(spec.capacity, np.float32)
        self._action = Field("action", spec.action_shape, spec.action_dtype)
        self._is_plain = spec.n_frames == 1 and spec.n_step == 1
        self._powers = spec.gamma ** np.arange(spec.n_step + 1)
        self._blank = np.ones((5, 0), np.float32)  # scalars of the last batch, where all are alike

    # Writing

    def put(self, stream: int, step: Step) -> None:
        """Write one step, and the observation after it where a truncation made it known."""
        mark, columns, action, reward, last = step
        row = self.ring.append(stream, mark)
        self.columns.put(row, columns)
        self.actions[row] = action
        self.rewards[row] = reward
        if last is not None:
            self.put_idle(stream, BOUNDARY, last)

    def put_idle(self, stream: int, mark: int, columns: Mapping[str, np.ndarray]) -> None:
        """Write a row that is no step: zeros in every column that is not given."""
        row = self.ring.append(stream, mark)
        self.columns.put(row, columns)
        self.actions[row] = 0
        self.rewards[row] = 0.0

    def put_each(self, steps: Steps) -> None:
        """Write one step of every stream."""
        marks, columns, actions, rewards, lasts, cut = steps
        rows = self.ring.append_each(marks)
        self.columns.put_many(rows, columns)
        self.actions[rows] = actions
        self.rewards[rows] = rewards
        if lasts is not None:
            for place, stream in enumerate(cut.tolist()):
                self.put_idle(stream, BOUNDARY, {name: last[place] for name, last in lasts.items()})

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
        self.ring.end_episode(stream)
        written = self.ring.append_run(stream, marks)
        self.ring.end_episode(stream)
        self.columns.put_many(written, columns)
        self.actions[written] = actions
        self.rewards[written] = rewards

    def clear(self) -> None:
        """Remove all rows."""
        self.ring.clear()
        self.columns.clear()

    # Reading

    def plan(self, streams: np.ndarray, serials: np.ndarray, weights: np.ndarray | None = None) -> Plan:
        """Return the plan of a batch of the rows with these ``serials`` [N] of ``streams`` [N]."""
        if self._is_plain:
            return self._plain_plan(self.ring.rows(streams, serials + _NOW_AND_NEXT), weights)
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

    def _actions_of(self, rows: np.ndarray) -> np.ndarray:
        actions = self.actions.take(rows, axis=0)
        return actions if actions.ndim > 1 else actions[:, None]

    # Files

    def state(self) -> dict[str, np.ndarray]:
        """Return the stored rows, stream after stream and oldest first, and the cursors."""
        ring = self.ring
        rows = ring.all_rows()
        names = [field.name for field in self.spec.columns]
        columns = {f"column.{name}": self.columns.read(name, rows) for name in names}
        return columns | {
            "marks": ring.marks[rows],
            "actions": self.actions[rows],
            "rewards": self.rewards[rows],
            "written": ring.written.copy(),
            "sizes": ring.sizes.copy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Set what :meth:`state` returned; raise ValueError or KeyError where it does not fit."""
        ring = self.ring
        ring.restore(state["written"], state["sizes"])
        rows = ring.all_rows()
        stored = {f"column.{field.name}": field for field in self.spec.columns}
        stored |= {"rewards": Field("rewards", (), "float32"), "marks": Field("marks", (), "uint8")}
        for name, field in stored.items():
            if state[name].dtype != field.dtype:
                raise TypeError(f"{name} has dtype {state[name].dtype}; expected {field.dtype}")
        found = {name: field.rows(state[name], len(rows)) for name, field in stored.items()}
        self.actions[rows] = self._action.rows(state["actions"], len(rows))
        self.rewards[rows] = found["rewards"]
        ring.mark_all(found["marks"])
        if len(rows):
            columns = {field.name: found[f"column.{field.name}"] for field in self.spec.columns}
            self.columns.put_many(rows, columns)

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
