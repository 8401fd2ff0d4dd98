"""Actor: evaluates a network for acting, outside of updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, Backend, Params
from trifolium.models.masks import NO_ACTION, legal_only, random_legal
from trifolium.models.states import part_of
from trifolium.replay.schema import Leaf, nested

__all__ = ["Actor", "epsilon_greedy"]

Values = Callable[[Any, Params, AnyArray | None, Any], AnyArray]
"""Called with (namespace, parameters, noise or None, states), returns action values [B, A]. States are
[B, n], or a mapping of such arrays."""


class Actor:
    """Evaluates a network for a few states at a time.

    trifolium's own networks are written once, so they are evaluated on the host, which is fastest for
    few states on every backend; a user's own network is evaluated on its device.

    Args:
        backend: the backend of the parameters.
        values: the pure function to evaluate.
        leaves: the arrays of an observation.
        on_host: whether ``values`` takes NumPy arrays.
    """

    def __init__(
        self, backend: Backend, values: Values, leaves: Sequence[Leaf], *, on_host: bool
    ) -> None:
        self._backend = backend
        self._leaves = leaves
        self._on_host = on_host
        self._params: Params | None = None
        self._values = values if on_host else self._compiled(values)

    def action_values(
        self, params: Params, statistics: Params, noise: np.ndarray | None, states: Any
    ) -> np.ndarray:
        """Return the action values [B, A] of ``states`` on the host.

        Args:
            params: arrays of the backend. They are read at the first call, and again after
                :meth:`forget`.
            statistics: the network's statistics other than parameters, on the backend too.
            noise: [size], or None.
            states: [B, n] float32, or a mapping of such arrays.
        """
        if not self._on_host:
            return self._backend.to_numpy(self._values(np, params | statistics, noise, states))
        if self._params is None:
            self._params = {name: self._backend.to_numpy(value) for name, value in params.items()}
        found: np.ndarray = self._values(np, self._params, noise, states)
        return found

    def forget(self) -> None:
        """Read the parameters again with the next call."""
        self._params = None

    def _compiled(self, values: Values) -> Values:
        xp, leaves = self._backend.xp, self._leaves

        def on_device(params: Params, noise: AnyArray | None, arrays: tuple[AnyArray, ...]) -> AnyArray:
            return values(xp, params, noise, nested(leaves, arrays))

        compiled = self._backend.compile(on_device)

        def on_host(_: Any, params: Params, noise: np.ndarray | None, states: Any) -> AnyArray:
            copies = tuple(part_of(states, leaf.path).copy() for leaf in leaves)
            return compiled(params, noise, copies)

        return on_host


def epsilon_greedy(
    rng: np.random.Generator,
    epsilon: float,
    values: Callable[[], np.ndarray],
    shape: tuple[int, int],
    legal: np.ndarray | None = None,
) -> np.ndarray:
    """Return an action for each row, [B] int64: a random one with probability ``epsilon``, or the best.

    Where no action is legal it is :data:`~trifolium.models.masks.NO_ACTION`.

    Args:
        rng: draws which rows explore, and their actions.
        epsilon: probability of a random action.
        values: returns the action values [B, A]; it is called only if a row does not explore.
        shape: (B, A).
        legal: [B, A] bool, the actions that may be taken; None for all.
    """
    if legal is not None:
        return _legal_epsilon_greedy(rng, epsilon, values, legal)
    rows, actions = shape
    if rows == 1:
        explores_alone = epsilon > 0.0 and rng.random() < epsilon
        return rng.integers(actions, size=1) if explores_alone else values().argmax(axis=1)
    explores = rng.random(rows) < epsilon if epsilon > 0.0 else np.zeros(rows, bool)
    exploring = np.count_nonzero(explores)
    if not exploring:
        return values().argmax(axis=1)
    chosen = rng.integers(actions, size=rows)
    return chosen if exploring == rows else np.where(explores, chosen, values().argmax(axis=1))


def _legal_epsilon_greedy(
    rng: np.random.Generator, epsilon: float, values: Callable[[], np.ndarray], legal: np.ndarray
) -> np.ndarray:
    rows = len(legal)
    explores = rng.random(rows) < epsilon if epsilon > 0.0 else np.zeros(rows, bool)
    random = random_legal(rng, legal) if explores.any() else None
    if random is not None and explores.all():
        return random
    best = legal_only(np, values(), legal).argmax(axis=1)
    best = np.where(legal.any(axis=1), best, NO_ACTION)
    return best if random is None else np.where(explores, random, best)
