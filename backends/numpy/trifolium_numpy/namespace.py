"""The array namespace of the NumPy backend: array-api-compat's, with faster functions for few rows."""

from typing import Any

import numpy as np
from array_api_compat.numpy import *  # noqa: F403

__all__: list[str] = []


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """Return the arrays that ``x`` stacks along ``axis``, as views."""
    return tuple(x) if axis == 0 else tuple(np.moveaxis(x, axis, 0))
