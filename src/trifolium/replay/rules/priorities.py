"""The arithmetic of proportional priorities (Schaul et al. 2016, section 3.3 and 3.4)."""

from typing import Any, NamedTuple

import numpy as np

from trifolium import _checks as checks
from trifolium.backend import AnyArray

__all__ = [
    "LARGEST_PRIORITY",
    "PriorityOptions",
    "checked_priorities",
    "importance_weights",
    "mass",
    "raw_priority",
]

LARGEST_PRIORITY = float(np.finfo(np.float32).max)  # so that no sum of float64 overflows


class PriorityOptions(NamedTuple):
    """The options of :class:`trifolium.Prioritized`, which documents each."""

    alpha: float
    beta: float
    epsilon: float


def checked_priorities(indices: Any, td: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (``indices`` [B] int64, ``|td|`` [B] float64), the arguments of ``update_priorities``.

    Raises:
        ValueError, TypeError: lengths differ, or an error is not finite.
    """
    which = checks.vector("indices", indices, "int64")
    priorities = np.abs(checks.vector("td", td, "float64"))
    if len(priorities) != len(which):
        raise ValueError(f"td has {len(priorities)} errors; expected {len(which)}, as of indices")
    if len(priorities) and not priorities.max() <= LARGEST_PRIORITY:  # NaN is not
        raise ValueError("td holds values that are not finite in float32; expected finite errors")
    return which, priorities


def raw_priority(errors: AnyArray, epsilon: float) -> AnyArray:
    """Return ``|td| + epsilon`` for the temporal-difference ``errors``."""
    return abs(errors) + epsilon


def mass(raw: Any, alpha: float) -> Any:
    """Return the mass of rows with the priorities ``raw``: they are drawn in proportion to it."""
    return raw**alpha


def importance_weights(least: Any, masses: AnyArray, beta: Any) -> AnyArray:
    """Return the importance weights of rows, divided by the largest of them.

    The weight of row i is ``(N * P(i)) ** -beta``. The number of rows N and the sum of all masses
    cancel when it is divided by the weight of the row with the ``least`` mass.

    Args:
        least: the least mass in the batch.
        masses: [B], above 0.
        beta: how much of the bias is corrected; 1 is all.
    """
    return (least / masses) ** beta
