"""Make Gymnasium environments, and check that trifolium's models can act in them."""

from typing import Any

import gymnasium as gym

from trifolium import _checks as checks
from trifolium.agents.action import ActionSpec
from trifolium.agents.observation import ObservationSpec
from trifolium.errors import WorldError

__all__ = ["make", "make_vector", "sizes"]


def make(name: str, **options: Any) -> gym.Env[Any, Any]:
    """Return the Gymnasium environment with this id.

    Args:
        name: its id, such as "CartPole-v1".
        **options: passed on to ``gymnasium.make``.

    Raises:
        WorldError: the id is unknown, a package that it needs is missing, or its spaces are not
            supported.

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


def make_vector(
    name: str, count: int, *, processes: bool | str = False, **options: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Return a vector of ``count`` environments with this id, without automatic resets.

    Args:
        name: the id of each, such as "CartPole-v1".
        count: how many.
        processes: whether each environment runs in its own process, which is faster for slow
            environments; or the start method of the processes, such as "forkserver", which is safe
            with JAX and needs a script with an ``if __name__ == "__main__"`` guard.
        **options: passed on to ``gymnasium.make``.

    Raises:
        WorldError: as for :func:`make`.

    >>> make_vector("CartPole-v1", 3).num_envs
    3
    """
    make(name, **options).close()  # its errors are clearer than those of a subprocess
    makers = [lambda: gym.make(name, **options)] * checks.integer("count", count, 1)
    mode = gym.vector.AutoresetMode.DISABLED
    if not processes:
        return gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)
    context = processes if isinstance(processes, str) else None
    return gym.vector.AsyncVectorEnv(makers, autoreset_mode=mode, context=context)


def sizes(env: gym.Env[Any, Any], name: str | None = None) -> tuple[tuple[int, ...], int]:
    """Return (shape of a model's observations, number of actions), or raise WorldError."""
    name = name or (env.spec.id if env.spec else type(env).__name__)
    try:
        observations = ObservationSpec.from_space(env.observation_space)
        return observations.shape, ActionSpec.from_space(env.action_space).n
    except WorldError as error:
        raise WorldError(f"env={name!r} is not supported: {error}") from None
