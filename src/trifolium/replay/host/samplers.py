"""How rows are drawn: the Sampler protocol, uniform and prioritized.

A sampler runs on the host. It sees the :class:`~trifolium.replay.host.ring.Ring` of a buffer, never its
arrays, so it draws the same rows on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from trifolium._checks import fraction, positive
from trifolium.errors import NotEnoughTransitions
from trifolium.replay.host.ring import Ring
from trifolium.replay.host.sumtree import SumTree
from trifolium.replay.rules.priorities import (
    LARGEST_PRIORITY,
    importance_weights,
    mass,
    raw_priority,
)

__all__ = ["Draw", "Drawable", "Prioritized", "Sampler", "Uniform"]


class Draw(NamedTuple):
    """Rows that a sampler drew.

    Attributes:
        streams: [B] int64, the stream of each.
        serials: [B] int64, the serial number of each in its stream.
        weights: [B] float32, importance weights; None where all are 1.
    """

    streams: np.ndarray
    serials: np.ndarray
    weights: np.ndarray | None = None


class Drawable(Protocol):
    """What a sampler may ask of the buffer that it draws for."""

    ring: Ring

    def valid_rows(self, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return [N] bool: which drawable rows would come out of ``sample`` as valid."""
        ...


class Sampler(Protocol):
    """What ``Buffer(sampler=...)`` takes.

    A sampler belongs to one buffer. It is asked for rows only, and must ask ``source`` each time what
    can be drawn: rows come and go between draws.
    """

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        """Draw ``batch_size`` >= 1 rows, or raise `NotEnoughTransitions`."""
        ...

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:
        """Take new ``priorities`` [N] float64 >= 0 for buffer ``rows`` [N] that are still stored."""
        ...

    def clear(self) -> None:
        """Remove all rows."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return all that must be saved with the buffer, as named arrays."""
        ...

    def restore(self, source: Drawable, state: Mapping[str, np.ndarray]) -> None:
        """Set what :meth:`state` returned."""
        ...


class Uniform:
    """Every row that can be drawn is equally likely.

    Args:
        replacement: whether one row may appear twice in a batch. Without, Floyd's algorithm draws
            in time that does not grow with the buffer.

    >>> from trifolium import Buffer
    >>> buffer = Buffer(8, (2,), seed=0, sampler=Uniform(replacement=True))
    """

    def __init__(self, *, replacement: bool = False) -> None:
        self.replacement = replacement

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make such a sampler, in JSON's types."""
        return {"replacement": self.replacement}

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        return Draw(*draw_runs(source.ring, rng, batch_size, replacement=self.replacement))

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:  # noqa: ARG002
        raise TypeError("update_priorities: this buffer draws uniformly; give it Prioritized()")

    def clear(self) -> None:
        pass

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, source: Drawable, state: Mapping[str, np.ndarray]) -> None:
        pass


def draw_runs(
    ring: Ring,
    rng: np.random.Generator,
    batch_size: int,
    *,
    span: int = 1,
    replacement: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw runs of ``span`` rows uniformly: (streams, serials) of their first rows, each [B]."""
    available = ring.count_drawable(span)
    if available < (1 if replacement else batch_size):
        raise NotEnoughTransitions(
            batch_size, available, "transitions" if span == 1 else f"sequences of length {span}"
        )
    ordinals = None if replacement else _distinct(rng, available, batch_size)
    if ordinals is None:
        ordinals = rng.choice(available, batch_size, replace=replacement, shuffle=False)
    return ring.locate(ordinals, span)


def _distinct(rng: np.random.Generator, below: int, count: int) -> np.ndarray | None:
    """Return ``count`` numbers drawn uniformly if they come out all different, else None.

    Of very many numbers a few are rarely equal, and to look is faster than Floyd's algorithm. Where
    there are few nothing is drawn. Taking numbers modulo ``below`` makes the first ones likelier by
    a part of ``below / 2**64``.
    """
    if below < 4 * count * count:
        return None
    found = rng.bit_generator.random_raw(count)
    found %= np.uint64(below)
    ordered = found.copy()
    ordered.sort()
    return None if np.count_nonzero(ordered[1:] == ordered[:-1]) else found.view(np.int64)


class Prioritized:
    """Proportional prioritized replay (Schaul et al. 2016, section 3.3).

    Row i is drawn with probability ``p_i ** alpha / sum_k p_k ** alpha``, from one of B equal
    segments of the total each, as in the paper's Algorithm 1; so a row may appear twice in a batch.
    Its weight is ``(N * P(i)) ** -beta``, divided by the largest of the batch.

    Deviations: rows that would be invalid have no mass, and N counts only the others. New rows get the
    largest priority seen, before alpha.

    It holds the priorities of one buffer's rows, so each buffer needs one of its own.

    Args:
        alpha: how much priorities matter; 0 is uniform.
        beta: how much of the bias is corrected; 1 is all. Assign to ``beta`` to anneal it.
        epsilon: added to every ``|td|``, so that no row is lost for ever.

    >>> from trifolium import Buffer
    >>> buffer = Buffer(8, (2,), seed=0, sampler=Prioritized(alpha=0.6, beta=0.4))
    """

    def __init__(self, alpha: float = 0.6, beta: float = 0.4, *, epsilon: float = 1e-6) -> None:
        self.alpha = fraction("alpha", alpha)
        self.beta = fraction("beta", beta)
        self.epsilon = positive("epsilon", epsilon)
        self._tree: SumTree | None = None
        self._ring: Ring | None = None  # whose rows are in the tree
        self._largest = 1.0
        # serials of each stream that the tree knows: from .. to (not included)
        self._known_from = np.zeros(0, np.int64)
        self._known_to = np.zeros(0, np.int64)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make such a sampler, in JSON's types."""
        return {"alpha": self.alpha, "beta": self.beta, "epsilon": self.epsilon}

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        tree = self._synchronised(source)
        if tree.total <= 0.0:
            raise NotEnoughTransitions(batch_size, 0)
        targets = (np.arange(batch_size) + rng.random(batch_size)) * (tree.total / batch_size)
        rows = tree.find(targets)
        masses = tree.values(rows)
        weights = importance_weights(masses.min(), masses, self.beta)
        return Draw(*source.ring.identify(rows), weights.astype(np.float32))

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:
        if not len(rows):
            return
        tree = self._synchronised(source)  # new rows get the largest priority seen before these
        raw = raw_priority(priorities, self.epsilon)
        self._largest = max(self._largest, float(raw.max()))
        has_mass = tree.values(rows) > 0.0
        tree.assign(rows[has_mass], mass(raw[has_mass], self.alpha))

    def clear(self) -> None:
        self._tree = None

    def state(self) -> dict[str, np.ndarray]:
        largest = {"largest": np.array([self._largest])}
        if self._tree is None:
            return largest
        return largest | {
            "leaves": self._tree.leaves.copy(),
            "known_from": self._known_from.copy(),
            "known_to": self._known_to.copy(),
        }

    def restore(self, source: Drawable, state: Mapping[str, np.ndarray]) -> None:
        ring = source.ring
        self._largest = positive("largest", _sound(state, "largest", np.zeros(1))[0])
        self._tree = None
        if "leaves" in state:
            self._known_from = _sound(state, "known_from", ring.written)
            self._known_to = _sound(state, "known_to", ring.written)
            self._tree = SumTree(ring.capacity)
            leaves = _sound(state, "leaves", self._tree.leaves)
            self._tree.assign(np.arange(ring.capacity), leaves)

    def masses(self, source: Drawable) -> tuple[np.ndarray, float]:
        """Return (mass of every row [capacity] float64, the largest raw priority seen): a copy."""
        return self._synchronised(source).leaves.copy(), self._largest

    def _synchronised(self, source: Drawable) -> SumTree:
        """Return the tree after taking in the rows that came and went since the last draw."""
        self._belong_to(source)
        ring = source.ring
        if self._tree is None:
            self._tree = SumTree(ring.capacity)
            self._known_from = self._known_to = np.zeros(ring.n_streams, np.int64)
        begin = ring.written - ring.sizes + ring.skipped
        end = begin + ring.drawable()
        for stream in range(ring.n_streams):
            self._forget(ring, stream, self._known_from[stream], int(begin[stream]))
            self._learn(source, stream, max(begin[stream], self._known_to[stream]), int(end[stream]))
        self._known_from, self._known_to = begin, np.maximum(end, begin)
        self._drop_broken_stacks(source, begin, end)
        return self._tree

    def _belong_to(self, source: Drawable) -> None:
        """Raise ValueError if the rows of another buffer are in the tree."""
        if self._ring is None:
            self._ring = source.ring
        if self._ring is not source.ring:
            raise ValueError(
                "this Prioritized() draws for another buffer already; give each buffer one of its own"
            )

    def _forget(self, ring: Ring, stream: int, start: int, stop: int) -> None:
        assert self._tree is not None
        stop = min(stop, int(self._known_to[stream]))
        if start < stop:
            gone = np.arange(max(start, stop - ring.length), stop)
            self._tree.assign(ring.rows(stream, gone), np.zeros(len(gone)))

    def _learn(self, source: Drawable, stream: int, start: int, stop: int) -> None:
        assert self._tree is not None
        if start < stop:
            serials = np.arange(start, stop)
            valid = source.valid_rows(np.full(len(serials), stream), serials)
            masses = np.where(valid, mass(self._largest, self.alpha), 0.0)
            self._tree.assign(source.ring.rows(stream, serials), masses)

    def _drop_broken_stacks(self, source: Drawable, begin: np.ndarray, end: np.ndarray) -> None:
        """Take the mass from the oldest rows whose first frames were overwritten since."""
        assert self._tree is not None
        for stream, (start, stop) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            serials = np.arange(start, min(start + source.ring.breakable, stop))
            if len(serials):
                valid = source.valid_rows(np.full(len(serials), stream), serials)
                rows = source.ring.rows(stream, serials[~valid])
                self._tree.assign(rows, np.zeros(len(rows)))


def _sound(state: Mapping[str, np.ndarray], name: str, like: np.ndarray) -> np.ndarray:
    """Return a copy of a saved array, or raise ValueError where it can't be what was saved."""
    found = state[name]
    if found.shape != like.shape or found.dtype != like.dtype:
        raise ValueError(f"{name} has shape {found.shape} and dtype {found.dtype}")
    if not np.all((found >= 0) & (found <= LARGEST_PRIORITY)):
        raise ValueError(f"{name} holds values that are not finite, or below 0")
    return found.copy()
