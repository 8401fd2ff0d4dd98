"""Marks: the kind of each row as one byte, a sum of the constants of this module."""

from typing import Any

import numpy as np

__all__ = [
    "BLANK",
    "BOUNDARY",
    "ENDED",
    "FIRST",
    "FIRST_AFTER",
    "LOST",
    "NO_TRANSITION",
    "TERMINATED",
    "TRUNCATED",
    "UNKNOWN",
    "ends_episode",
]

FIRST = 1  # the first row of an episode
TERMINATED = 2  # the step ended the episode: there is nothing to bootstrap from
TRUNCATED = 4  # the episode was cut off after the step
UNKNOWN = 8  # cut off, and the observation that followed was not given
BOUNDARY = 16  # no step: the observation after a truncated step
BLANK = 32  # no step: zeros that add_empty writes before an episode
LOST = 64  # the rows before this one in its episode are not in this buffer

ENDED = TERMINATED | TRUNCATED | BOUNDARY
NO_TRANSITION = BOUNDARY | BLANK


def ends_episode(mark: Any) -> Any:
    """Return whether the row after one with this ``mark`` is the first of an episode.

    A boundary row is the exception: it belongs to the episode of the step before it.

    Args:
        mark: an int, or an integer array of any framework.
    """
    return (mark & ENDED) != 0


FIRST_AFTER = np.array([FIRST if ends_episode(mark) else 0 for mark in range(256)], np.uint8)
"""The initial mark of a row, by the mark of the row before it."""
