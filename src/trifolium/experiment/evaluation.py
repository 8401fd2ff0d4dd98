"""Evaluation: returns of models without exploration."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from trifolium import _checks as checks
from trifolium.experiment.runners import GymRunner, Runner
from trifolium.models import BaseModel

__all__ = ["evaluate", "greedy", "returns_of"]


def evaluate(model: BaseModel, env: "gym.Env[Any, Any]", episodes: int, *, seed: int) -> np.ndarray:
    """Return the returns of ``model`` in ``episodes`` without exploration: [episodes] float64.

    The model's memory, epsilon and generator are as they were before.

    >>> import trifolium as tri
    >>> model = tri.DDQN(4, 2, memory_size=100, seed=0)
    >>> evaluate(model, gym.make("CartPole-v1"), 3, seed=0).shape
    (3,)
    """
    runner = GymRunner(env, model, seed=seed, remember=False)
    (returns,) = returns_of(runner, episodes).values()
    return returns


def returns_of(
    runner: Runner, episodes: int, *, after_step: Callable[[], None] | None = None
) -> dict[str, np.ndarray]:
    """Return the returns of each agent in the next ``episodes`` of the world, without exploration.

    Args:
        runner: one that does not remember.
        episodes: episodes of the world, in which an agent may have no episode or several.
        after_step: called after each step.

    Returns:
        Returns by the agent's name: [episodes of the agent] float64.
    """
    last = runner.episodes + checks.integer("episodes", episodes, 1)
    returns: dict[str, list[float]] = {agent: [] for agent in runner.agents}
    with greedy(runner.models):
        while runner.episodes < last:
            for end in runner.step():
                returns.setdefault(end.agent, []).append(end.episode_return)
            if after_step:
                after_step()
    return {agent: np.array(earned, np.float64) for agent, earned in returns.items()}


@contextmanager
def greedy(models: Mapping[str, BaseModel]) -> Iterator[None]:
    """A context without exploration; at its end the generators are as they were before."""
    with ExitStack() as stack:
        for model in models.values():
            stack.enter_context(_greedy(model))
        yield


@contextmanager
def _greedy(model: BaseModel) -> Iterator[None]:
    generator = model.rng.bit_generator.state
    try:
        with model.greedy():
            yield
    finally:
        model.rng.bit_generator.state = generator
