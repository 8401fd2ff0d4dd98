"""FrameStacks: stacks the newest observations to states while episodes are played."""

import numpy as np

__all__ = ["FrameStacks"]


class FrameStacks:
    """The newest ``n_frames`` observations of each of ``count`` episodes; zeros before its first.

    A memory with ``boundary="pad"`` returns the same states for these steps.

    Args:
        n_frames: observations in a state.
        count: number of episodes that are played at the same time.

    >>> stacks = FrameStacks(2, count=1)
    >>> stacks.push(np.array([[1.0]]), first=np.array([True])).tolist()
    [[[0.0], [1.0]]]
    >>> stacks.push(np.array([[2.0]]), first=np.array([False])).tolist()
    [[[1.0], [2.0]]]
    """

    def __init__(self, n_frames: int, count: int) -> None:
        self.n_frames = n_frames
        self.count = count
        self._states: np.ndarray | None = None

    def push(self, obs: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Add the next observations and return the states: [count, n_frames, *obs_shape].

        Args:
            obs: [count, *obs_shape].
            first: [count] bool, which of them begin an episode.
        """
        newest = obs[:, None]
        if self._states is None:
            self._states = np.zeros((self.count, self.n_frames, *obs.shape[1:]), obs.dtype)
        # a new array each time: a model may keep a reference to its states
        self._states = np.concatenate((self._states[:, 1:], newest), axis=1)
        if self.n_frames > 1:
            self._states[first, :-1] = 0
        return self._states
