"""Gymnasium environments: made, and checked for what trifolium's models can act in."""

from typing import Any

import gymnasium as gym

from trifolium.errors import WorldError

__all__ = ["make", "sizes"]


def make(name: str, **options: Any) -> gym.Env[Any, Any]:
    """Return the Gymnasium environment of that name.

    Args:
        name: its id, such as "CartPole-v1".
        **options: passed on to ``gymnasium.make``.

    Raises:
        WorldError: there is none of that name, what it needs is missing, or its spaces are ones that
            trifolium can't act in.

    >>> make("CartPole-v1").spec.id
    'CartPole-v1'
    """
    try:
        env = gym.make(name, **options)
    except (gym.error.Error, ImportError, TypeError, ValueError) as error:
        reason = str(error).strip() or type(error).__name__
        raise WorldError(f"env={name!r} can't be made: {reason}") from error
    try:
        sizes(env)
    except WorldError:
        env.close()
        raise
    return env


def sizes(env: gym.Env[Any, Any]) -> tuple[tuple[int, ...], int]:
    """Return (shape of one observation, number of actions), or raise WorldError."""
    observations, actions = env.observation_space, env.action_space
    name = env.spec.id if env.spec else type(env).__name__
    if not isinstance(actions, gym.spaces.Discrete):
        raise WorldError(
            f"env={name!r} has the action space {actions}; "
            "expected Discrete: the models choose one of a number of actions"
        )
    if not isinstance(observations, gym.spaces.Box) or not observations.shape:
        raise WorldError(f"env={name!r} has the observation space {observations}; expected a Box")
    if int(actions.start) != 0:
        raise WorldError(f"env={name!r} counts its actions from {actions.start}; expected from 0")
    return observations.shape, int(actions.n)
