"""ActionSpec: the actions of a model, and what a world calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trifolium import _checks as checks

if TYPE_CHECKING:
    import gymnasium as gym

__all__ = ["ActionSpec"]


class ActionSpec:
    """The actions of a model, 0 to n - 1: the name of each, and the value that a world takes for it.

    Args:
        names: a name for each action, all different; or their number, and the numbers are the names.
        values: what a world takes for each action: numbers, or arrays of one shape; None for the
            actions themselves.

    Attributes:
        n: number of actions; what a model takes as ``action_space``.
        names: their names.

    Raises:
        ValueError, TypeError: no names, the same twice, or another number of values.

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

        The actions of the last two are all their combinations, in the order of counting.

        Args:
            space: the action space.
            names: a name for each action; None for its value.

        Raises:
            WorldError: the space is continuous, say, or has too many combinations; the message tells
                which spaces work.

        >>> import gymnasium as gym
        >>> ActionSpec.from_space(gym.spaces.MultiDiscrete([2, 2])).names
        ('0 0', '0 1', '1 0', '1 1')
        """
        from trifolium.agents.spaces import action_spec

        return action_spec(space, names)

    def name(self, action: int) -> str:
        """Return the name of ``action``, from 0 to n - 1."""
        return self.names[self._checked(action)]

    def index(self, name: str) -> int:
        """Return the action of that name.

        Raises:
            ValueError: there is none; the message lists the names.
        """
        if name not in self.names:
            raise ValueError(f"name={name!r} is no action; the actions are: {', '.join(self.names)}")
        return self.names.index(name)

    def value(self, action: int) -> Any:
        """Return what the world takes for ``action``: an int or a float, or an array."""
        value = self._values[self._checked(action)]
        return value.copy() if value.ndim else value.item()

    def values(self, actions: np.ndarray) -> np.ndarray:
        """Return what a vector environment takes for ``actions`` [N]."""
        return self._values[actions]

    def _checked(self, action: int) -> int:
        found = checks.integer("action", action, 0)
        if found >= self.n:
            raise ValueError(f"action={found} does not exist; expected 0 to {self.n - 1}")
        return found

    def __repr__(self) -> str:
        return f"ActionSpec({list(self.names)!r})"
