"""What a driver, writers and shards send each other: arrays of NumPy in named tuples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from trifolium.replay.rules.assemble import Packed
from trifolium.replay.rules.steps import Chunk

__all__ = [
    "Notes",
    "Piece",
    "PriorityUpdate",
    "Proposal",
    "Proposed",
    "Rule",
    "ShardRows",
    "ShardStatus",
    "Source",
    "Wanted",
]

Rule: TypeAlias = Literal["", "valid", "episode"]
"""Which runs may be drawn: all, those whose first row is valid, or those within an episode."""


class Piece(NamedTuple):
    """Steps of some of a shard's streams, in the order in which they were taken.

    Attributes:
        streams: [S] int64, the shard's own.
        chunk: T steps of each; None ends their episodes instead.
        blank: whether rows of zeros follow the end of the episodes, as of ``add_empty``.
    """

    streams: np.ndarray
    chunk: Chunk | None
    blank: bool = False


class Source(NamedTuple):
    """Where steps come from, so that a shard notices if some before them were lost.

    Attributes:
        writer: an identifier of the writer; one that was pickled is another.
        number: how many calls this writer made of the shard before.
    """

    writer: str
    number: int


class PriorityUpdate(NamedTuple):
    """New priorities of a shard's rows.

    Attributes:
        indices: [N] int64, the shard's own.
        priorities: [N] float64, absolute errors.
        largest: the largest raw priority that any shard was given so far.
    """

    indices: np.ndarray
    priorities: np.ndarray
    largest: float


class Notes(NamedTuple):
    """What a driver tells a shard along with a call.

    Attributes:
        token: of the incarnation that the notes are for; another one ignores them.
        updates: new priorities.
        limit: the steps that this incarnation may have stored before its writers wait; None for no
            limit.
    """

    token: str | None
    updates: Sequence[PriorityUpdate] = ()
    limit: int | None = None


class ShardStatus(NamedTuple):
    """What a shard holds.

    Attributes:
        token: differs in each incarnation of a shard.
        rows: rows stored.
        drawable: runs of the length asked for that can be drawn.
        mass: of all rows together; 0.0 without priorities.
        steps: steps that writers ever stored in this incarnation.
    """

    token: str
    rows: int
    drawable: int
    mass: float
    steps: int


class Wanted(NamedTuple):
    """The part of M minibatches that a shard draws.

    Attributes:
        counts: [M], how many rows, or runs, of each minibatch.
        span: rows in a run.
        targets: [sum(counts)] float64, in [0, mass): where the sum of masses passes each, a row is
            drawn. None: rows are drawn uniformly.
        mass: the shard's mass by which the targets were chosen.
    """

    counts: tuple[int, ...]
    span: int = 1
    targets: np.ndarray | None = None
    mass: float = 0.0


class ShardRows(NamedTuple):
    """Rows of a shard, gathered.

    Attributes:
        packed: the rows; of runs one after another.
        indices: [N] int64, the shard's own, of rows or of the first row of each run.
        masses: [N] float64, in proportion to the probabilities with which the rows of all shards were
            drawn; None without priorities.
        counts: [M], rows of each minibatch: what was asked for, or 0 where so many can't be drawn.
        status: after the draw.
    """

    packed: Packed | None
    indices: np.ndarray
    masses: np.ndarray | None
    counts: tuple[int, ...]
    status: ShardStatus


class Proposal(NamedTuple):
    """Runs that may be drawn, if they can be and the rule allows it.

    Attributes:
        rule: which runs are accepted.
        span: rows in a run.
        ordinals: [N] int64, numbers of runs from 0 to ``drawable``; None where there are targets.
        targets: [N] float64, as in :class:`Wanted`.
        mass: as in :class:`Wanted`.
    """

    rule: Rule
    span: int
    ordinals: np.ndarray | None
    targets: np.ndarray | None = None
    mass: float = 0.0


class Proposed(NamedTuple):
    """Runs, and which of them are accepted.

    Attributes:
        accepted: [N] bool.
        indices: [N] int64, the shard's own, of the first rows.
        masses: [N] float64, as in :class:`ShardRows`; None without priorities.
        status: of the shard.
    """

    accepted: np.ndarray
    indices: np.ndarray
    masses: np.ndarray | None
    status: ShardStatus
