"""How a draw is divided over shards, so that it has the law of a draw from one memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Cut", "cut", "stratified", "uniform_counts"]


MOST_ROWS = 1_000_000_000
"""NumPy's limit of the multivariate hypergeometric law."""


class Cut(NamedTuple):
    """Numbers, cut at the borders of shards that follow one another.

    Attributes:
        shards: [N] int64, the shard of each.
        local: [N], each counted from where its shard begins.
    """

    shards: np.ndarray
    local: np.ndarray


def uniform_counts(
    rng: np.random.Generator, drawable: Sequence[int], batch_size: int, *, replacement: bool = False
) -> np.ndarray:
    """Return how many rows of each shard are in a batch that is drawn uniformly from all: [S].

    Without replacement these counts have the multivariate hypergeometric law. A multinomial one would
    take too many rows of small shards in some batches and too few in others.

    >>> uniform_counts(np.random.default_rng(0), [5, 0, 5], 10).tolist()
    [5, 0, 5]
    """
    if replacement:
        return rng.multinomial(batch_size, np.array(drawable) / sum(drawable))
    total = sum(drawable)
    if total < MOST_ROWS:
        # the other method takes time and memory that grow with the number of rows
        return rng.multivariate_hypergeometric(np.array(drawable), batch_size, method="marginals")
    ordinals = np.zeros(0, np.int64)
    while len(ordinals) < batch_size:  # among so many rows, few of a batch are equal
        ordinals = np.unique(rng.integers(total, size=batch_size))
    return np.bincount(cut(ordinals, drawable).shards, minlength=len(drawable))


def stratified(rng: np.random.Generator, total: float, batch_size: int) -> np.ndarray:
    """Return one target [B] float64 in each of B equal segments of [0, total) (Schaul et al. 2016)."""
    found: np.ndarray = (np.arange(batch_size) + rng.random(batch_size)) * (total / batch_size)
    return found


def cut(numbers: np.ndarray, sizes: Sequence[float] | Sequence[int]) -> Cut:
    """Cut ``numbers`` [N] in [0, sum(sizes)) at the borders of shards with these ``sizes`` [S].

    >>> cut(np.array([0.5, 2.5]), [2.0, 0.0, 1.0])
    Cut(shards=array([0, 2]), local=array([0.5, 0.5]))
    """
    ends = np.cumsum(sizes)
    last = int(np.flatnonzero(sizes)[-1])  # rounding must not lead beyond it
    shards = np.minimum(np.searchsorted(ends, numbers, side="right"), last)
    return Cut(shards, numbers - (ends - sizes)[shards])
