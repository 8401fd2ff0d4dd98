"""Names of a constructor's options, and suggestions for wrong ones."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from trifolium import _checks as checks
from trifolium._options import accepted_names, check_names
from trifolium.replay import Buffer

__all__ = ["accepted_options", "check_action_space", "check_options", "own_options"]

_OTHER_NAMES = {  # names of the same option in other libraries
    "alpha": "learning_rate",
    "buffer_size": "memory_size",
    "capacity": "memory_size",
    "discount": "gamma",
    "grad_clip": "max_grad_norm",
    "hidden_sizes": "hidden",
    "layer_size": "hidden",
    "lr": "learning_rate",
    "max_gradient_norm": "max_grad_norm",
    "n_actions": "action_space",
    "n_envs": "n_streams",
    "net_arch": "hidden",
    "num_actions": "action_space",
    "num_envs": "n_streams",
    "num_quantiles": "quantiles",
    "n_quantiles": "quantiles",
    "obs_shape": "input_size",
    "replay_buffer": "memory",
    "state_size": "input_size",
    "sync_freq": "target_update",
    "target_network_frequency": "target_update",
    "target_update_interval": "target_update",
    "tau": "polyak",
}
_NOT_MEMORY_OPTIONS = frozenset({"capacity", "obs_shape"})  # a model has names of its own


def accepted_options(cls: type) -> tuple[str, ...]:
    """Return the names of the arguments that ``cls(...)`` takes.

    A constructor with ``**options`` passes them on, so the arguments of the next constructor in the
    order of inheritance count too; where the last of them is BaseModel's, those of Buffer.

    >>> from trifolium import DDQN
    >>> [name for name in accepted_options(DDQN) if "target" in name]
    ['target_update']
    """
    return _accepted(cls)


@cache
def _accepted(cls: type) -> tuple[str, ...]:
    names, takes_more = accepted_names(cls)
    if not takes_more:
        return names
    of_memory = (name for name in accepted_names(Buffer)[0] if name not in _NOT_MEMORY_OPTIONS)
    return tuple(dict.fromkeys((*names, *of_memory)))


@cache
def own_options(cls: type, base: type) -> tuple[str, ...]:
    """Return the names of the arguments that ``cls(...)`` takes and ``base(...)`` does not."""
    return tuple(name for name in _accepted(cls) if name not in _accepted(base))


def check_options(cls: type, given: Iterable[str]) -> None:
    """Raise TypeError if ``cls(...)`` has no option of one of the ``given`` names."""
    check_names(cls, given, _accepted(cls), _OTHER_NAMES)


def check_action_space(cls: type, value: Any) -> int:
    """Return the number of actions, or raise an error that shows how to get it from a space."""
    try:
        return checks.integer("action_space", value, 1)
    except TypeError as error:
        if not hasattr(value, "n") and not hasattr(value, "sample"):
            raise
        number = ", action_space.n" if hasattr(value, "n") else ""
        raise TypeError(
            f"action_space={value!r} is a {type(value).__name__}; expected the number of actions"
            f"{number}, or a model made by {cls.__name__}.from_env(env, memory_size)"
        ) from error
