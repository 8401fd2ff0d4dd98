"""The arithmetic of proportional priorities (Schaul et al. 2016, section 3.3 and 3.4)."""

from typing import Any, NamedTuple

import numpy as np

from trifolium.backend import Array

__all__ = ["LARGEST_PRIORITY", "PriorityOptions", "importance_weights", "mass", "raw_priority"]

LARGEST_PRIORITY = float(np.finfo(np.float32).max)  # so that no sum of float64 overflows


class PriorityOptions(NamedTuple):
    """The options of :class:`trifolium.Prioritized`, which documents each."""

    alpha: float
    beta: float
    epsilon: float


def raw_priority(errors: Array, epsilon: float) -> Array:
    """Return ``|td| + epsilon`` for the temporal-difference ``errors``."""
    return abs(errors) + epsilon


def mass(raw: Any, alpha: float) -> Any:
    """Return the mass of rows with the priorities ``raw``: they are drawn in proportion to it."""
    return raw**alpha


def importance_weights(least: Any, masses: Array, beta: Any) -> Array:
    """Return the importance weights of rows, divided by the largest of them.

    The weight of row i is ``(N * P(i)) ** -beta``. The number of rows N and the sum of all masses
    cancel when it is divided by the weight of the row with the ``least`` mass.

    Args:
        least: the least mass in the batch.
        masses: [B], above 0.
        beta: how much of the bias is corrected; 1 is all.
    """
    return (least / masses) ** beta
