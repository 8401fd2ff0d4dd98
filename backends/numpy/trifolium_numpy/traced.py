"""The namespace that records gradients: autograd's, with functions that it lacks."""

from collections.abc import Callable, Sequence
from typing import Any

import autograd.numpy as autograd_numpy
import numpy as np
from autograd.extend import defvjp, primitive
from autograd.numpy import *  # noqa: F403

from trifolium_numpy import namespace

__all__: list[str] = []

NUMBER = int | float  # autograd has functions of these names
Gradient = Callable[[np.ndarray], np.ndarray]


def maximum(x1: Any, x2: Any, /) -> Any:
    """Return the larger of both; no gradient passes where ``x1`` is not above a number ``x2``."""
    if isinstance(x2, NUMBER):
        return _at_least(x1, x2)
    return autograd_numpy.maximum(x1, x2)  # which shares the gradient of equals, in 64 bits


def concat(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Return ``arrays`` joined along ``axis``; autograd knows the function by its older name alone."""
    return autograd_numpy.concatenate(arrays, axis=axis)


def _at_least_by_array(_: np.ndarray, x1: np.ndarray, x2: float) -> Gradient:
    return lambda grads: np.where(x1 <= x2, grads.dtype.type(0), grads)


def _taken_by_array(_: np.ndarray, array: np.ndarray, indices: np.ndarray, axis: int = -1) -> Gradient:
    def pull_back(grads: np.ndarray) -> np.ndarray:
        total, places = np.zeros_like(array), namespace.places(indices, axis)
        if indices.shape[axis] == 1:
            total[places] = grads
        else:
            np.add.at(total, places, grads)
        return total

    return pull_back


_at_least = primitive(np.maximum)
take_along_axis = primitive(namespace.take_along_axis)
defvjp(_at_least, _at_least_by_array, None)
defvjp(take_along_axis, _taken_by_array, None)
