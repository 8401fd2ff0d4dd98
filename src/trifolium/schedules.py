"""Schedules: numbers that change as training goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from trifolium import _checks as checks

__all__ = ["Linear", "Schedule", "checked", "line"]

Schedule: TypeAlias = Callable[[int], float]
"""What a model asks for the value at a count: of the actions taken, or of the updates made."""


@dataclass(frozen=True)
class Linear:
    """Moves in a straight line from ``start`` to ``end`` over ``steps``, and stays there.

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
    """Return where a straight line from ``start`` to ``end`` over ``steps`` is at ``count``.

    It stays at its end, and is there at once if ``steps`` is 0. ``count`` may be an array, and traced.
    """
    left = 1.0 - count / steps if steps else 0.0
    return end + (start - end) * (left * (left > 0))


def checked(check: Callable[[str, Any], float], name: str, value: Any) -> "float | Schedule":
    """Return a schedule as it is, once its first value passed ``check``; and a number checked."""
    if callable(value):
        check(f"{name}(0)", value(0))
        scheduled: Schedule = value
        return scheduled
    return check(name, value)
