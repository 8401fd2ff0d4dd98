"""The array namespace of the NumPy backend: array-api-compat's, with faster functions."""

from typing import Any

import numpy as np
from array_api_compat.numpy import *  # noqa: F403

__all__: list[str] = []


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """Return the arrays that ``x`` stacks along ``axis``, as views."""
    return tuple(np.moveaxis(x, axis, 0)) if axis else tuple(x)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Return ``x`` at ``indices`` along ``axis``."""
    return x[places(indices, axis)]


def places(indices: Any, axis: int) -> tuple[Any, ...]:
    """Return the index arrays for :func:`take_along_axis`."""
    if indices.ndim == 2 and axis in (1, -1):
        return np.arange(len(indices))[:, None], indices
    found = list(np.indices(indices.shape, sparse=True))
    found[axis] = indices
    return tuple(found)
