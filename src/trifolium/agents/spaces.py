"""Gymnasium's spaces: the specs that follow from each."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np

from trifolium.agents.action import ActionSpec
from trifolium.agents.observation import Flat, Image, Joined, ObservationSpec, OneHot, Passthrough
from trifolium.errors import WorldError

__all__ = ["LARGEST_PRODUCT", "action_spec", "observation_spec"]

LARGEST_PRODUCT = 1024
"""Combinations of a MultiDiscrete action space, above which it is refused."""


def observation_spec(space: gym.Space[Any]) -> ObservationSpec:
    """Return what :meth:`trifolium.agents.ObservationSpec.from_space` tells."""
    match space:
        case gym.spaces.Box():
            return _of_box(space)
        case gym.spaces.Discrete():
            return OneHot(int(space.n), first=int(space.start))
        case gym.spaces.MultiDiscrete():
            return OneHot(space.nvec, space.nvec.shape, first=space.start)
        case gym.spaces.MultiBinary():
            return Flat(space.shape)
        case gym.spaces.Dict():
            return _of_parts(space, space.spaces)
        case gym.spaces.Tuple():
            return _of_parts(space, dict(enumerate(space.spaces)))
    raise WorldError(
        f"the observation space {space} has no array of a fixed shape; "
        "expected Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"
    )


def _of_box(space: gym.spaces.Box) -> ObservationSpec:
    if not space.shape:
        return Flat(())
    if space.dtype != np.uint8:
        return Passthrough(space.shape)
    return Image(space.shape) if len(space.shape) == 3 else Passthrough(space.shape, "uint8")


def _of_parts(space: gym.Space[Any], parts: Mapping[Any, gym.Space[Any]]) -> ObservationSpec:
    specs = {key: observation_spec(part) for key, part in parts.items() if not _is_text(part)}
    if not specs:
        raise WorldError(f"the observation space {space} has no part that is made of numbers")
    return Joined(specs)


def _is_text(space: gym.Space[Any]) -> bool:
    """Return whether elements of ``space`` are strings: gymnasium's Text, MiniGrid's missions."""
    return space.dtype is not None and space.dtype.kind == "U"


def action_spec(space: gym.Space[Any], names: Sequence[str] | None = None) -> ActionSpec:
    """Return what :meth:`trifolium.agents.ActionSpec.from_space` tells."""
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
