"""A buffer of structured observations behind the methods of one whose observations are arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, Backend
from trifolium.replay import Batch, Buffer
from trifolium.testing.cases import FIELDS

__all__ = ["SPLIT", "SplitBuffer"]

SPLIT = {"first": 1, "rest": {"second": ((), "float32")}}
"""The ``obs_shape`` in which observations of two numbers are stored."""


class SplitBuffer:
    """Splits each observation [2] into two leaves, and joins what it reads.

    Args:
        buffer: with ``obs_shape=SPLIT``; or an object with its methods.
        backend: of the buffer.
    """

    def __init__(self, buffer: Any, backend: Backend) -> None:
        self.buffer = buffer
        self.backend = backend

    def add(self, *, obs: Any, next_obs: Any, **step: Any) -> None:
        """Add one step of a stream, or of each."""
        self.buffer.add(obs=_split(obs), next_obs=_split(next_obs), **step)

    def extend(self, *, obs: Any, next_obs: Any, **steps: Any) -> None:
        """Add several steps of a stream, or of each."""
        self.buffer.extend(obs=_split(obs), next_obs=_split(next_obs), **steps)

    def add_from_buffer(self, other: "SplitBuffer | Buffer") -> None:
        """Append another buffer."""
        self.buffer.add_from_buffer(other.buffer if isinstance(other, SplitBuffer) else other)

    def sample(self, batch_size: int, *, flatten: bool = True) -> Batch:
        """Draw a batch."""
        return self._joined_batch(self.buffer.sample(batch_size, flatten=flatten), flatten)

    def sample_sequences(self, batch_size: int, length: int, *, within_episode: bool) -> Batch:
        """Draw runs of rows."""
        found = self.buffer.sample_sequences(batch_size, length, within_episode=within_episode)
        return self._joined_batch(found, flatten=True)

    def fetch(self, indices: Sequence[int]) -> Batch:
        """Read rows by index."""
        return self._joined_batch(self.buffer.fetch(indices), flatten=True)

    def current_state(self, stream: int) -> AnyArray:
        """Return the frames before the newest observation."""
        return self._joined(self.buffer.current_state(stream))

    @property
    def states(self) -> AnyArray:
        """Every observation, in ring order."""
        return self._joined(self.buffer.states)

    def __getitem__(self, index: Any) -> Any:
        obs, *outcome = self.buffer[index]
        return (self._joined(obs), *outcome)

    def __len__(self) -> int:
        return len(self.buffer)

    def __getattr__(self, name: str) -> Any:
        """Return what has nothing to do with observations."""
        return getattr(self.buffer, name)

    def _joined(self, tree: Any) -> AnyArray:
        first, second = tree["first"], tree["rest"]["second"]
        xp = self.backend.xp
        return xp.stack([xp.reshape(first, second.shape), second], axis=-1)

    def _joined_batch(self, batch: Batch, flatten: bool) -> Batch:
        fields = {name: getattr(batch, name) for name in FIELDS}
        for name in ("states", "next_states"):
            both = self._joined(fields[name])
            shape = (*both.shape[:-2], -1) if flatten else both.shape
            fields[name] = self.backend.xp.reshape(both, shape)
        return Batch(**fields, indices=batch.indices, extras=batch.extras)


def _split(values: Any) -> Any:
    """Return observations [..., 2] in two leaves; None where there are none."""
    if values is None:
        return None
    both = np.asarray(values, np.float32)
    return {"first": both[..., :1], "rest": {"second": both[..., 1]}}
