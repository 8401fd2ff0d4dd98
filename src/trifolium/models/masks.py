"""Action masks: the part of a structured observation that says which actions are legal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trifolium.backend import AnyArray
from trifolium.models.states import flat_leaf, part_of
from trifolium.replay.rules.steps import part_at
from trifolium.replay.schema import BufferSpec, Leaf

__all__ = ["NO_ACTION", "ActionMask", "legal_only", "random_legal"]

NO_ACTION = -1
"""Stands for the action in a state that has no legal one, such as the last state of an episode."""

DTYPES = ("bool", "uint8", "int8")


@dataclass(frozen=True)
class ActionMask:
    """Which part of a state says which actions are legal there; those are nonzero in its newest frame.

    Attributes:
        leaf: that part.
        actions: A, the number of actions.

    >>> from trifolium import Buffer
    >>> memory = Buffer(10, {"board": (9,), "legal": ((3,), "bool")})
    >>> mask = ActionMask.checked("legal", memory.spec, 3)
    >>> mask.of_state({"board": np.zeros(9), "legal": [True, False, True]})
    array([ True, False,  True])
    """

    leaf: Leaf
    actions: int

    @classmethod
    def checked(cls, name: Any, spec: BufferSpec, actions: int) -> ActionMask | None:
        """Return the mask of that name, or None for None.

        Args:
            name: of a part of the observation, such as "mask", or "info/mask" for one inside another.
            spec: of the memory.
            actions: A, the number of actions.

        Raises:
            TypeError, ValueError: the observation has no such part, or the part is not a mask.
        """
        if name is None:
            return None
        if not isinstance(name, str):
            raise TypeError(
                f"action_mask={name!r} is a {type(name).__name__}; expected the name of a part of the "
                "observation, as a str"
            )
        if not spec.is_structured:
            raise ValueError(
                f"action_mask={name!r}, but observations are one array of shape {spec.obs_shape}; "
                f"expected structured ones: input_size={{'observation': {spec.obs_shape}, {name!r}: "
                f"(({actions},), 'bool')}}"
            )
        named = {"/".join(leaf.path): leaf for leaf in spec.leaves}
        if name not in named:
            raise ValueError(
                f"action_mask={name!r} is not a part of the observation, which has "
                f"{', '.join(map(repr, named))}"
            )
        leaf = named[name]
        if leaf.shape != (actions,) or leaf.dtype not in DTYPES:
            raise ValueError(
                f"action_mask={name!r} has shape {leaf.shape} and dtype {leaf.dtype} in input_size; "
                f"expected ({actions},), as action_space={actions}, and one of {', '.join(DTYPES)}"
            )
        return cls(leaf, actions)

    def legal(self, states: Any) -> AnyArray:
        """Return which actions are legal in checked ``states``: [B, A] bool.

        Args:
            states: a mapping of arrays [B, ...] of any dtype, flat or not.
        """
        newest = part_of(states, self.leaf.path)
        if newest.ndim > 2:
            return newest[:, -1, :] != 0
        start = (self.leaf.n_frames - 1) * self.actions
        return newest[:, start:] != 0

    def of_state(self, state: Any) -> np.ndarray:
        """Return which actions are legal in ``state``, an argument of ``take_action``: [A] bool.

        Raises:
            ValueError: none is.
        """
        flat = flat_leaf(self.leaf, part_at("state", state, self.leaf.path, "input_size"))
        legal: np.ndarray = flat[-self.actions :] != 0
        self.check(legal)
        return legal

    def check(self, legal: np.ndarray) -> None:
        """Raise ValueError if no action is legal in one of the states: ``legal`` is [A], or [B, A]."""
        if not legal.any(axis=-1).all():
            raise ValueError(
                f"no action is legal: {self.leaf.named('state')} is all zero; expected at least one "
                "that is not, as in every state in which an episode goes on"
            )


def legal_only(xp: Any, values: AnyArray, legal: AnyArray) -> AnyArray:
    """Return action ``values`` [B, A] with -inf where an action is not ``legal`` [B, A].

    The largest is that of a legal action, if there is one, even where a value is -inf or NaN.
    """
    # arrays, not numbers: torch.compile can't follow array-api-compat, which converts a number
    lowest = xp.full_like(values, float(xp.finfo(values.dtype).min))
    return xp.where(legal, xp.maximum(values, lowest), xp.full_like(values, -math.inf))


def random_legal(rng: np.random.Generator, legal: np.ndarray) -> np.ndarray:
    """Return one of the ``legal`` [B, A] actions of each row, all equally likely: [B] int64.

    It is :data:`NO_ACTION` where none is legal.
    """
    counts = legal.sum(axis=1)
    places = rng.integers(np.maximum(counts, 1))
    chosen = (legal.cumsum(axis=1) > places[:, None]).argmax(axis=1)
    return np.where(counts > 0, chosen, NO_ACTION)
