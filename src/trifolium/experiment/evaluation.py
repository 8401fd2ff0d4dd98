"""Evaluation: what a model earns when it does not explore."""

from typing import Any

import gymnasium as gym
import numpy as np

from trifolium.models import BaseModel
from trifolium.replay import checks

__all__ = ["FrameStack", "evaluate"]


class FrameStack:
    """The newest ``n_frames`` observations of an episode; zeros before its first.

    Args:
        n_frames: observations in a state.

    >>> stack = FrameStack(2)
    >>> stack.reset(np.array([1.0])).tolist(), stack.push(np.array([2.0])).tolist()
    ([[0.0], [1.0]], [[1.0], [2.0]])
    """

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames
        self._frames: list[np.ndarray] = []

    def reset(self, obs: Any) -> np.ndarray:
        """Begin an episode with ``obs`` and return its state: [n_frames, *obs_shape]."""
        self._frames = [np.zeros_like(obs)] * self.n_frames
        return self.push(obs)

    def push(self, obs: Any) -> np.ndarray:
        """Take in the next observation and return the state: [n_frames, *obs_shape]."""
        self._frames = [*self._frames[1:], np.asarray(obs)]
        return np.stack(self._frames)


def evaluate(model: BaseModel, env: gym.Env[Any, Any], episodes: int, *, seed: int) -> np.ndarray:
    """Return what ``model`` earns in each of ``episodes`` with epsilon at 0: [episodes] float64.

    Episode i is reset with ``seed + i``. The model's memory and epsilon are as they were before.
    """
    returns = np.zeros(checks.integer("episodes", episodes, 1))
    frames = FrameStack(model.memory.n_frames)
    with model.greedy():
        for episode in range(episodes):
            model.reset()
            state = frames.reset(env.reset(seed=seed + episode)[0])
            over = False
            while not over:
                obs, reward, terminated, truncated, _ = env.step(model.take_action(state))
                state = frames.push(obs)
                returns[episode] += float(reward)
                over = terminated or truncated
    return returns
