"""Checks for NaN: in observations, rewards, losses and weights."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium.errors import NanError

__all__ = ["check_arrays", "check_number", "check_observation"]


def check_number(what: str, value: float) -> None:
    """Raise NanError if ``value`` is NaN.

    >>> check_number("the reward", 1.0)
    """
    if math.isnan(value):
        raise NanError(f"{what} is NaN")


def check_observation(who: str, observation: Any, part: str = "") -> None:
    """Raise NanError if the observation of ``who``, an array or a mapping of them, holds NaN."""
    if type(observation) is not np.ndarray and isinstance(observation, Mapping):
        for name, inner in observation.items():
            check_observation(who, inner, f"{part}[{name!r}]")
    elif observation.dtype.kind == "f" and np.isnan(observation).any():
        raise NanError(f"the observation{part} of {who} holds NaN")


def check_arrays(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise NanError if one of the learned ``arrays`` of the model ``name`` holds NaN."""
    for array_name, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise NanError(f"the weights {array_name!r} of the model {name!r} hold NaN")
