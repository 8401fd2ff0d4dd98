"""Schedules: numbers that change during training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from trifolium import _checks as checks

__all__ = ["Linear", "Schedule", "checked", "line"]

Schedule: TypeAlias = Callable[[int], float]
"""A function of a count, which is the number of actions taken or of updates made."""


@dataclass(frozen=True)
class Linear:
    """Interpolates linearly from ``start`` to ``end`` over ``steps``, then stays at ``end``.

    Args:
        start: value at 0.
        end: value at ``steps`` and after.
        steps: at least 1.

    >>> epsilon = Linear(1.0, 0.05, steps=100)
    >>> epsilon(0), epsilon(50), epsilon(1000)
    (1.0, 0.525, 0.05)
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        checks.integer("steps", self.steps, 1)

    def __call__(self, count: int) -> float:
        """Return the value at ``count``."""
        return line(self.start, self.end, self.steps, count)


def line(start: float, end: float, steps: float, count: Any) -> Any:
    """Return the linear interpolation from ``start`` to ``end`` over ``steps`` at ``count``.

    It stays at ``end`` afterwards, and is ``end`` if ``steps`` is 0. ``count`` may be an array, also a
    traced one.
    """
    left = 1.0 - count / steps if steps else 0.0
    return end + (start - end) * (left * (left > 0))


def checked(check: Callable[[str, Any], float], name: str, value: Any) -> "float | Schedule":
    """Return a schedule after a check of its first value, or a checked number."""
    if callable(value):
        check(f"{name}(0)", value(0))
        scheduled: Schedule = value
        return scheduled
    return check(name, value)
