"""FrameStacks: stacks the newest observations to states while episodes are played."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium.replay.batch import map_tree

__all__ = ["FrameStacks"]


class FrameStacks:
    """The newest ``n_frames`` observations of each of ``count`` episodes; zeros before its first.

    A memory with ``boundary="pad"`` returns the same states for these steps.

    Args:
        n_frames: observations in a state; for structured observations perhaps a mapping from names at
            the top level to numbers.
        count: number of episodes that are played at the same time.

    >>> stacks = FrameStacks(2, count=1)
    >>> stacks.push(np.array([[1.0]]), first=np.array([True])).tolist()
    [[[0.0], [1.0]]]
    >>> stacks.push(np.array([[2.0]]), first=np.array([False])).tolist()
    [[[1.0], [2.0]]]
    """

    def __init__(self, n_frames: int | Mapping[str, int], count: int) -> None:
        self.n_frames = n_frames
        self.count = count
        self._states: np.ndarray | None = None
        self._parts: dict[str, FrameStacks] = {}

    def push(self, obs: Any, first: np.ndarray) -> Any:
        """Add the next observations and return the states: [count, n_frames, *obs_shape].

        Args:
            obs: [count, *obs_shape], or a mapping of such arrays; the states are a mapping then.
            first: [count] bool, which of them begin an episode.
        """
        if type(obs) is not np.ndarray and isinstance(obs, Mapping):  # the first is quick to check
            return {name: self._part(name).push(inner, first) for name, inner in obs.items()}
        assert isinstance(self.n_frames, int)
        newest = obs[:, None]
        if self._states is None:
            self._states = np.zeros((self.count, self.n_frames, *obs.shape[1:]), obs.dtype)
        # a new array each time: a model may keep a reference to its states
        self._states = np.concatenate((self._states[:, 1:], newest), axis=1)
        if self.n_frames > 1:
            self._states[first, :-1] = 0
        return self._states

    def push_one(self, obs: Any, *, first: bool) -> Any:
        """Add the next observation [*obs_shape] of the only episode; return [n_frames, *obs_shape].

        >>> FrameStacks(2, count=1).push_one({"speed": np.ones(1)}, first=True)["speed"].tolist()
        [[0.0], [1.0]]
        """
        if type(obs) is np.ndarray:
            return self.push(obs[None], np.array([first]))[0]
        states = self.push(map_tree(lambda array: array[None], obs), np.array([first]))
        return map_tree(lambda array: array[0], states)

    def _part(self, name: str) -> "FrameStacks":
        part = self._parts.get(name)
        if part is None:
            frames = self.n_frames if isinstance(self.n_frames, int) else self.n_frames[name]
            part = self._parts[name] = FrameStacks(frames, self.count)
        return part
