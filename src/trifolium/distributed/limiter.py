"""SamplesPerInsert: keeps a learner and its actors at a ratio of rows drawn to steps stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trifolium import _checks as checks

__all__ = ["SamplesPerInsert"]


@dataclass(frozen=True)
class SamplesPerInsert:
    """How many rows are drawn for each step that is stored, after ``start`` steps.

    A learner that is ahead waits for steps, and writers that are ahead wait for the learner. Without
    it, whoever is faster decides how often each step is learned from.

    Args:
        ratio: rows drawn for each step stored, above 0. A minibatch of 128 for every 16 steps is 8.
        slack: rows by which either side may be ahead; None for 1,000 steps' worth. It is at least what
            is drawn at once.
        start: steps before the learner may draw, during which no writer waits.
        timeout: seconds after which a learner that waits in vain gets a TimeoutError.

    >>> limit = SamplesPerInsert(8, slack=800, start=100)
    >>> limit.may_draw(0, stored=50, wanted=128), limit.may_draw(0, stored=100, wanted=128)
    (False, True)
    >>> limit.steps_left(0, stored=100)
    100
    """

    ratio: float
    slack: float | None = None
    start: int = 0
    timeout: float = 600.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name in ("ratio", "timeout"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name)))
        if self.slack is not None:
            object.__setattr__(self, "slack", checks.positive("slack", self.slack))
        object.__setattr__(self, "start", checks.integer("start", self.start, 0))

    def may_draw(self, drawn: int, stored: int, wanted: int) -> bool:
        """Return whether ``wanted`` rows may be drawn now.

        Args:
            drawn: rows drawn so far.
            stored: steps stored so far.
            wanted: rows to draw.
        """
        counted = stored - self.start
        return counted >= 0 and drawn + wanted <= counted * self.ratio + self._slack(wanted)

    def steps_left(self, drawn: int, stored: int) -> int:
        """Return how many steps writers may store before more rows are drawn."""
        most = self.start + (drawn + self._slack(0)) / self.ratio
        return max(0, math.floor(most) - stored)

    def _slack(self, wanted: int) -> float:
        return max(1000 * self.ratio if self.slack is None else self.slack, self.ratio, wanted)
