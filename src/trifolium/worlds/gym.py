"""Gymnasium environments: made, and checked for what trifolium's models can act in."""

from typing import Any

import gymnasium as gym

from trifolium import _checks as checks
from trifolium.agents.action import ActionSpec
from trifolium.agents.observation import ObservationSpec
from trifolium.errors import WorldError

__all__ = ["make", "make_vector", "sizes"]


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


def make_vector(
    name: str, count: int, *, processes: bool | str = False, **options: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Return ``count`` environments of that name that step together, and that the caller resets.

    Args:
        name: the id of each, such as "CartPole-v1".
        count: how many.
        processes: whether each runs in a process of its own, which pays for slow environments; or how
            these are started, "forkserver" for one, which is safe next to JAX, and needs a script whose
            work is under ``if __name__ == "__main__"``.
        **options: passed on to ``gymnasium.make``.

    Raises:
        WorldError: as for :func:`make`.

    >>> make_vector("CartPole-v1", 3).num_envs
    3
    """
    make(name, **options).close()  # its errors say more than those of a process
    makers = [lambda: gym.make(name, **options)] * checks.integer("count", count, 1)
    mode = gym.vector.AutoresetMode.DISABLED
    if not processes:
        return gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)
    context = processes if isinstance(processes, str) else None
    return gym.vector.AsyncVectorEnv(makers, autoreset_mode=mode, context=context)


def sizes(env: gym.Env[Any, Any], name: str | None = None) -> tuple[tuple[int, ...], int]:
    """Return (shape of one observation as a model takes it, number of actions), or raise WorldError."""
    name = name or (env.spec.id if env.spec else type(env).__name__)
    try:
        observations = ObservationSpec.from_space(env.observation_space)
        return observations.shape, ActionSpec.from_space(env.action_space).n
    except WorldError as error:
        raise WorldError(f"env={name!r} can't be acted in: {error}") from None
