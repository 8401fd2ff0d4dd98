"""ActionSpec: the actions of a model, and their names and values in a world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from trifolium import _checks as checks
from trifolium.errors import WorldError

if TYPE_CHECKING:
    import gymnasium as gym

__all__ = ["LARGEST_PRODUCT", "ActionSpec"]

LARGEST_PRODUCT = 1024
"""Largest number of action combinations that from_space accepts."""


class ActionSpec:
    """The actions of a model, 0 to n - 1, each with a name and the value that the world takes for it.

    Args:
        names: a unique name for each action; or the number of actions, which are then named by number.
        values: the value that the world takes for each action: numbers, or arrays of one shape; None
            for the action itself.

    Attributes:
        n: number of actions; the ``action_space`` of a model.
        names: their names.

    Raises:
        ValueError, TypeError: ``names`` is empty or has duplicates, or ``values`` has another length.

    >>> spec = ActionSpec(["left", "right"], values=[-1, 1])
    >>> spec.n, spec.name(1), spec.index("left"), spec.value(0)
    (2, 'right', 0, -1)
    """

    def __init__(self, names: int | Sequence[str], values: Any = None) -> None:
        if isinstance(names, str):
            raise TypeError(f"names={names!r} is one string; expected a sequence of names")
        if not isinstance(names, Sequence):
            names = [str(action) for action in range(checks.integer("names", names, 1))]
        self.names = tuple(names)
        self.n = len(self.names)
        if not self.n or len(set(self.names)) < self.n:
            raise ValueError(f"names={list(names)!r}; expected one or more names, all different")
        self._values = np.arange(self.n) if values is None else np.array(values)
        if len(self._values) != self.n:
            raise ValueError(
                f"values has {len(self._values)} values; expected one for each of {self.n}"
            )

    @staticmethod
    def from_space(space: gym.Space[Any], names: Sequence[str] | None = None) -> ActionSpec:
        """Return the spec for a Gymnasium action space: Discrete, MultiDiscrete or MultiBinary.

        For the last two, each combination is one action; the last part varies fastest.

        Args:
            space: the action space.
            names: a name for each action; None for its value.

        Raises:
            WorldError: the space is not supported, such as a continuous one, or has too many
                combinations; the message lists the supported spaces.

        >>> import gymnasium as gym
        >>> ActionSpec.from_space(gym.spaces.MultiDiscrete([2, 2])).names
        ('0 0', '0 1', '1 0', '1 1')
        """
        return _of_space(space, names)

    def name(self, action: int) -> str:
        """Return the name of ``action``, from 0 to n - 1."""
        return self.names[self._checked(action)]

    def index(self, name: str) -> int:
        """Return the action with this name.

        Raises:
            ValueError: no action has this name; the message lists the names.
        """
        if name not in self.names:
            raise ValueError(
                f"name={name!r} is not an action; expected one of: {', '.join(self.names)}"
            )
        return self.names.index(name)

    def value(self, action: int) -> Any:
        """Return the value that the world takes for ``action``: an int, a float or an array."""
        value = self._values[self._checked(action)]
        return value.copy() if value.ndim else value.item()

    def values(self, actions: np.ndarray) -> np.ndarray:
        """Return the values that a vector environment takes for ``actions`` [N]."""
        return self._values[actions]

    def _checked(self, action: int) -> int:
        found = checks.integer("action", action, 0)
        if found >= self.n:
            raise ValueError(f"action={found} does not exist; expected 0 to {self.n - 1}")
        return found

    def __repr__(self) -> str:
        return f"ActionSpec({list(self.names)!r})"


def _of_space(space: gym.Space[Any], names: Sequence[str] | None) -> ActionSpec:
    import gymnasium as gym  # imported here: custom worlds do not need gymnasium

    match space:
        case gym.spaces.Discrete():
            values = [int(space.start) + action for action in range(int(space.n))]
        case gym.spaces.MultiDiscrete() if space.nvec.ndim == 1:
            values = _combinations(space, space.nvec.tolist(), space.start.tolist())
        case gym.spaces.MultiBinary() if len(space.shape) == 1:
            values = _combinations(space, [2] * space.shape[0], [0] * space.shape[0])
        case _:
            raise WorldError(
                f"the action space {space} is not one that the models can act in: they choose one of "
                "a number of actions; expected Discrete, or a MultiDiscrete or MultiBinary of one axis "
                f"with at most {LARGEST_PRODUCT} combinations"
            )
    if names is None:
        names = [" ".join(map(str, np.atleast_1d(value).tolist())) for value in values]
    return ActionSpec(names, np.array(values, space.dtype))


def _combinations(space: gym.Space[Any], counts: list[int], first: list[int]) -> list[Any]:
    if math.prod(counts) > LARGEST_PRODUCT:
        raise WorldError(
            f"the action space {space} has {math.prod(counts)} combinations of actions; "
            f"expected at most {LARGEST_PRODUCT}"
        )
    each = [range(start, start + count) for start, count in zip(first, counts, strict=True)]
    return list(product(*each))
