"""Contents: what can be read of a buffer without drawing from it."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium import _checks as checks
from trifolium.backend import Array, Backend
from trifolium.replay.ring import TERMINATED
from trifolium.replay.rows import Rows
from trifolium.replay.spec import BufferSpec
from trifolium.replay.storage import Lazily

__all__ = ["Contents"]


class Contents:
    """The rows of a buffer, to be read: the newest, one by one, or all as arrays.

    Args:
        backend: whose arrays come out.
        spec: the buffer's options.
    """

    def __init__(self, backend: Backend, spec: BufferSpec) -> None:
        self.backend = backend
        self.spec = spec
        self._rows = Rows(backend, spec)

    def current_state(self, stream: int = 0) -> Array:
        """Return the frames to put before the newest observation: [n_frames - 1, *obs_shape].

        Frames of earlier episodes are zero.
        """
        frames = self._rows.recent(self._checked_stream(stream), self.n_frames - 1)
        return self.backend.from_numpy(frames)

    def last_transition(self, offset: int = 0, stream: int = 0) -> tuple[Any, float, bool] | None:
        """Return the (action, reward, done) of the step ``offset`` steps before the newest, if stored.

        The action is an int or a float, or a host array where actions have a shape.
        """
        offset = checks.integer("offset", offset, 0)
        row = self._rows.ring.step_row(self._checked_stream(stream), offset)
        return None if row is None else self._outcome(row)

    def __len__(self) -> int:
        """Rows stored, of all streams; blank and boundary rows count."""
        return self.size

    def __getitem__(self, index: int | slice) -> tuple[Any, Any, Any, Any]:
        """Return (obs, action, reward, done) of stored rows, stream after stream, oldest first.

        A slice gives native arrays with a leading axis.
        """
        rows = self._rows.ring.all_rows()
        if isinstance(index, slice):
            chosen = rows[index]
            outcomes = (self._host_column(name)[chosen] for name in ("action", "reward", "done"))
            obs = self._rows.storage.read("obs", chosen)
            return (self._native(obs), *map(self._native, outcomes))
        try:
            row = int(rows[operator.index(index)])
        except IndexError:
            raise IndexError(f"index={index} is out of range: {len(rows)} rows are stored") from None
        obs = self._rows.storage.read("obs", np.array([row]))[0]
        return (self._native(obs), *self._outcome(row))

    @property
    def states(self) -> Array:
        """Every observation, in ring order: a copy [capacity, *obs_shape]."""
        return self._copied("obs")

    @property
    def actions(self) -> Array:
        """Every action, in ring order: a copy [capacity, *action_shape]."""
        return self._native(self._host_column("action"))

    @property
    def rewards(self) -> Array:
        """Every reward, in ring order: a copy [capacity] float32."""
        return self._native(self._host_column("reward"))

    @property
    def dones(self) -> Array:
        """Every done, in ring order: a copy [capacity] float32."""
        return self._native(self._host_column("done"))

    @property
    def extra_data(self) -> Mapping[str, Array]:
        """The extras by name, in ring order: a copy [capacity, ...], made when a name is looked up."""
        return Lazily([name for name, _, _ in self.spec.extras], self._copied)

    @property
    def capacity(self) -> int:
        """Rows held at most, of all streams together."""
        return self.spec.capacity

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return self.spec.obs_shape

    @property
    def n_frames(self) -> int:
        """Observations in a state."""
        return self.spec.n_frames

    @property
    def n_streams(self) -> int:
        """Streams, each with a ring of its own."""
        return self.spec.n_streams

    @property
    def size(self) -> int:
        """Rows stored, of all streams together; blank and boundary rows count."""
        return int(self._rows.ring.sizes.sum())

    @property
    def drawable(self) -> int:
        """Rows that can be drawn now, valid or not."""
        return self._rows.ring.count_drawable()

    @property
    def idx(self) -> int:
        """Row that the next ``add`` writes; of the first stream, where there are several."""
        return self._rows.ring.newest_row(0, -1)

    def getidx(self) -> int:
        """Return :attr:`idx`."""
        return self.idx

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.capacity}, {self.obs_shape}, n_frames={self.n_frames}, "
            f"backend={self.backend.name!r}, size={self.size})"
        )

    # Helpers

    def _copied(self, name: str) -> Array:
        return self._rows.storage.copied(name)

    def _host_column(self, name: str) -> np.ndarray:
        if name == "done":
            return ((self._rows.ring.marks & TERMINATED) != 0).astype(np.float32)
        return (self._rows.actions if name == "action" else self._rows.rewards).copy()

    def _native(self, array: np.ndarray) -> Array:
        return self.backend.from_numpy(array)

    def _outcome(self, row: int) -> tuple[Any, float, bool]:
        action = self._rows.actions[row]
        return (
            action.copy() if self.spec.action_shape else action.item(),
            float(self._rows.rewards[row]),
            bool(self._rows.ring.marks[row] & TERMINATED),
        )

    def _checked_stream(self, stream: int) -> int:
        found = checks.integer("stream", stream, 0)
        if found >= self.n_streams:
            raise ValueError(f"stream={found} does not exist; expected 0 to {self.n_streams - 1}")
        return found
