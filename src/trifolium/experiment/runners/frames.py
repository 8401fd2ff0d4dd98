"""FrameStack: the observations that make up a state while an episode is played."""

from typing import Any

import numpy as np

__all__ = ["FrameStack"]


class FrameStack:
    """The newest ``n_frames`` observations of an episode; zeros before its first.

    That is what a memory with ``boundary="pad"`` hands back for the same step.

    Args:
        n_frames: observations in a state.

    >>> stack = FrameStack(2)
    >>> stack.reset(np.array([1.0])).tolist(), stack.push(np.array([2.0])).tolist()
    ([[0.0], [1.0]], [[1.0], [2.0]])
    """

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames
        self._state = np.zeros(0)

    def reset(self, obs: Any) -> np.ndarray:
        """Begin an episode with ``obs`` and return its state: [n_frames, *obs_shape]."""
        newest = np.asarray(obs)
        self._state = np.zeros((self.n_frames, *newest.shape), newest.dtype)
        return self.push(newest)

    def push(self, obs: Any) -> np.ndarray:
        """Take in the next observation and return the state: [n_frames, *obs_shape]."""
        newest = np.asarray(obs)[None]
        # a new array each time: a model may keep the states that it was shown
        self._state = newest if self.n_frames == 1 else np.concatenate((self._state[1:], newest))
        return self._state
