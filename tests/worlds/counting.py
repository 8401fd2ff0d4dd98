"""Environments whose observations count, and a check of what a memory returns of them.

An observation is [process, environment, episode, step]: it says which step it is of, so the successor
of a stored step is known. CartPole-v1 has the same shapes, so a loop from the documentation runs in
`Counting-v0` with nothing changed but the name.
"""

import itertools
import os
from collections import defaultdict
from typing import Any

import gymnasium as gym
import numpy as np

import trifolium as tri

NAME = "Counting-v0"
_numbers = itertools.count()


def length(environment: int, episode: int) -> int:
    """Return the number of steps of an episode: 1 to 9."""
    return 1 + (5 * environment + 7 * episode) % 9


def ending(environment: int, episode: int) -> str:
    """Return how an episode ends."""
    return ("terminated", "truncated", "both")[(environment + episode) % 3]


def reward_of(episode: int, step: int, action: int) -> float:
    """Return the reward of an action in a step."""
    return episode % 1000 + step / 16 + action / 2


class CountingEnv(gym.Env[np.ndarray, np.int64]):
    """An environment that counts its episodes and its steps."""

    observation_space = gym.spaces.Box(0, 2**24, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.environment, self.episode, self.steps = next(_numbers) % 2**20, -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, Any]:
        reward = reward_of(self.episode, self.steps, int(action))
        self.steps += 1
        over = self.steps == length(self.environment, self.episode)
        end = ending(self.environment, self.episode)
        return (
            self._observation(),
            reward,
            over and end != "truncated",
            over and end != "terminated",
            {},
        )

    def _observation(self) -> np.ndarray:
        now = [os.getpid() % 2**20, self.environment, self.episode, self.steps]
        return np.array(now, np.float32)


def check_successors(memory: tri.Buffer) -> int:
    """Draw every row that can be drawn and check the valid ones; return how many are valid.

    A row has the successor, the rewards and the end of its step. Every step of an episode that is over,
    and that is in the memory from its first step on, is valid.
    """
    batch = memory.sample(memory.drawable)
    columns = [tri.backend.as_numpy(column) for column in (*batch, batch.discounts)]
    now, actions, rewards, following, dones, valid, discounts = columns
    action_in = {tuple(map(int, now[row])): int(actions[row, 0]) for row in range(len(now))}
    n_step, gamma = memory.spec.n_step, memory.spec.gamma
    steps: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for row in np.flatnonzero(valid[:, 0]):
        *episode, step = (int(number) for number in now[row])
        left = length(*episode[1:]) - step
        summed = next(k for k in range(n_step + 1) if np.isclose(discounts[row, 0], gamma**k))
        assert 1 <= summed <= min(n_step, left), now[row]
        total = sum(
            gamma**k * reward_of(episode[2], step + k, action_in[(*episode, step + k)])
            for k in range(summed)
        )
        assert np.isclose(rewards[row, 0], total, rtol=1e-6), now[row]
        terminates = summed == left and ending(*episode[1:]) != "truncated"
        assert dones[row, 0] == terminates, now[row]
        if not terminates:
            assert following[row].tolist() == [*episode, step + summed], now[row]
        steps[tuple(episode)].add(step)
    assert int(valid.sum()) == sum(len(found) for found in steps.values())
    for (process, environment, number), found in steps.items():
        if (process, environment, number + 1) in steps and 0 in found:
            assert found == set(range(length(environment, number)))
    return int(valid.sum())
