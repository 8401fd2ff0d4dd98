"""Where the arrays of a buffer come from: the host's memory, or files that are mapped into it."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

__all__ = ["Memory", "zeros"]

Memory: TypeAlias = Callable[[str, tuple[int, ...], str], np.ndarray]
"""Returns an array for a name, a shape and the name of a dtype: zeros where it is new."""


def zeros(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:  # noqa: ARG001
    """Return zeros in the host's memory."""
    return np.zeros(shape, dtype)
