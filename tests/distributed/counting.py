"""A world that counts, and rows of which every field has to hold the same number."""

from typing import Any, Self

import gymnasium as gym
import numpy as np

import trifolium as tri
from trifolium.backend import as_numpy

__all__ = ["CountingEnv", "CountingRunner", "check_whole"]


def check_whole(batch: tri.Batch) -> None:
    """Assert that the fields of every valid row are of one step."""
    states, next_states, rewards, valid = (
        as_numpy(each) for each in (batch.states, batch.next_states, batch.rewards, batch.valid)
    )
    assert np.all((states == rewards) | (valid == 0))
    assert np.all((next_states == rewards + 1) | (valid == 0))


class CountingRunner:
    """A runner whose steps hold one number in every field; a row's successor is the step after it."""

    def __init__(self, memory: Any) -> None:
        self.models = {"model": tri.RandomModel(2, 2, memory.spec.capacity, memory=memory)}
        self.width = memory.n_streams
        self._memory, self._number = memory, 0

    @classmethod
    def of(cls, memory: Any, seed: int) -> Self:
        """Return the runner of a worker."""
        return cls(memory)

    def step(self) -> list[Any]:
        """Add a step of every stream."""
        same = np.full(self.width, self._number)
        self._memory.add(np.repeat(same[:, None], 2, 1), same, same, same < 0)
        self._number += 1
        return []


class CountingEnv(gym.Env[Any, int]):
    """A world whose observations and rewards count its steps; an episode has 40 of them."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin to count at a number that depends on the seed."""
        super().reset(seed=seed)
        self._first = self._number = int(self.np_random.integers(1000))
        return self._observation(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Count on."""
        self._number += 1
        over = self._number == self._first + 40
        return self._observation(), float(self._number - 1), False, over, {}

    def _observation(self) -> np.ndarray:
        return np.full(2, self._number, np.float32)
