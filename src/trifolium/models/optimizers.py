"""Optimizers in the array API: Adam, and a user's pair of pure functions."""

from __future__ import annotations

from functools import partial
from typing import Any

from trifolium.backend import Optimizer, Params
from trifolium.models import adam

__all__ = ["is_pair", "optimizer"]


def optimizer(xp: Any, wanted: Any, epsilon: float, *, accepts: str = "") -> Optimizer:
    """Return an optimizer that needs only the namespace ``xp``; see :class:`Differentiable`.

    Args:
        xp: array namespace of the parameters.
        wanted: None for Adam, or a pair (init, update).
        epsilon: added to the denominator of Adam.
        accepts: what else the backend accepts, for the error message.

    Raises:
        TypeError: ``wanted`` is neither.
    """
    if wanted is None:
        return Optimizer(partial(adam.init, xp), partial(adam.step, xp, epsilon=epsilon))
    if not is_pair(wanted):
        raise TypeError(
            f"optimizer={wanted!r:.80} is a {type(wanted).__name__}; expected None for Adam, "
            f"{accepts}or a pair of functions (init, update), such as optax's: init(params) returns a "
            "state, update(grads, state, params) returns (updates, state)"
        )
    init, update = wanted

    def step(params: Params, grads: Params, state: Any, _: Any) -> tuple[Params, Any]:
        updates, state = update(grads, state, params)
        return {name: value + updates[name] for name, value in params.items()}, state

    return Optimizer(init, step, own_rate=True)


def is_pair(value: Any) -> bool:
    """Return whether ``value`` is a pair of functions."""
    return isinstance(value, tuple) and len(value) == 2 and all(map(callable, value))
