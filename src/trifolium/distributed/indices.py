"""Indices of rows in shards: shard, incarnation and the shard's own index, packed in one int64."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["INCARNATIONS", "MOST_SHARDS", "packed", "unpacked"]

_ROW_BITS, _INCARNATION_BITS = 43, 10
_ROWS = 1 << _ROW_BITS
INCARNATIONS = 1 << _INCARNATION_BITS
MOST_SHARDS = 1 << 10


def packed(shard: int, incarnation: int, rows: np.ndarray) -> np.ndarray:
    """Return the indices [N] of ``rows`` [N], which are a shard's own indices.

    From the highest bit: a zero, 10 bits of the shard, 10 bits of its incarnation, 43 bits of the row.
    Rows count on for ever, so a shard can take 8.8e12 of them; incarnations are equal modulo 1,024.

    >>> unpacked(packed(3, 1, np.array([5, 6])))
    (array([3, 3]), array([1, 1]), array([5, 6]))
    """
    high = (shard << _INCARNATION_BITS) | (incarnation % INCARNATIONS)
    return rows + np.int64(high << _ROW_BITS)


def unpacked(indices: np.ndarray) -> tuple[Any, Any, Any]:
    """Return (shards, incarnations, rows), each [N] int64, of ``indices`` [N] int64."""
    high = indices >> _ROW_BITS
    return high >> _INCARNATION_BITS, high & (INCARNATIONS - 1), indices & (_ROWS - 1)
