"""Runs of consecutive rows: which of them lie in one episode, without idle rows."""

from typing import Any

from trifolium.backend import AnyArray
from trifolium.replay.rules.marks import ENDED, NO_TRANSITION

__all__ = ["unbroken", "unbroken_from"]


def unbroken(xp: Any, marks: AnyArray) -> AnyArray:
    """Return [N] bool: which runs of rows with these ``marks`` [N, length] are in one episode.

    Every row of such a run is a step, and none but the last ends its episode.
    """
    inside = xp.all((marks[:, :-1] & (ENDED | NO_TRANSITION)) == 0, axis=1)
    return inside & ((marks[:, -1] & NO_TRANSITION) == 0)


def unbroken_from(xp: Any, marks: AnyArray, length: int) -> AnyArray:
    """Return [S, R] bool: what :func:`unbroken` says of the run from each row on.

    The number of operations grows with the logarithm of ``length``: runs of twice the length are two
    runs, one after the other.

    Args:
        xp: array namespace.
        marks: [S, R] uint8, of S rings of R rows; the run from a last row goes on at the first one.
        length: rows in a run.

    >>> import numpy as np
    >>> unbroken_from(np, np.array([[0, 0, 4, 0]], np.uint8), 2).tolist()
    [[True, True, False, True]]
    """
    last = (marks & NO_TRANSITION) == 0
    if length == 1:
        return last
    inside = (marks & (ENDED | NO_TRANSITION)) == 0
    known, wanted = 1, length - 1
    while known < wanted:
        step = min(known, wanted - known)
        inside = inside & xp.roll(inside, -step, axis=1)
        known += step
    return inside & xp.roll(last, 1 - length, axis=1)
