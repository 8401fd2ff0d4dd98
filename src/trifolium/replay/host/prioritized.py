"""Prioritized: draws in proportion to priority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium import schedules
from trifolium._checks import fraction, positive
from trifolium.errors import NotEnoughTransitions
from trifolium.replay.host.ring import LARGEST_INDEX, Ring
from trifolium.replay.host.samplers import ROUNDS, Accept, Draw, Drawable
from trifolium.replay.host.sumtree import SumTree
from trifolium.replay.rules.priorities import (
    LARGEST_PRIORITY,
    PriorityOptions,
    importance_weights,
    mass,
    raw_priority,
)
from trifolium.saved_options import to_json
from trifolium.schedules import Schedule

__all__ = ["Prioritized"]

ROWS_READ_AT_ONCE = 65_536


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
        beta: how much of the bias is corrected; 1 is all. It may be a schedule, by the number of draws
            made: ``Linear(0.4, 1.0, steps=100_000)`` anneals it.
        epsilon: added to every ``|td|``, so that no row is lost for ever.

    Attributes:
        draws: how many draws were made.

    >>> from trifolium import Buffer
    >>> buffer = Buffer(8, (2,), seed=0, sampler=Prioritized(alpha=0.6, beta=0.4))
    """

    def __init__(
        self, alpha: float = 0.6, beta: float | Schedule = 0.4, *, epsilon: float = 1e-6
    ) -> None:
        self.alpha = fraction("alpha", alpha)
        self.beta = schedules.checked(fraction, "beta", beta)
        self.epsilon = positive("epsilon", epsilon)
        self.draws = 0
        self._tree: SumTree | None = None
        self._ring: Ring | None = None  # whose rows are in the tree
        self._largest = 1.0
        self._seen: Any = None  # Ring.written when the tree was made to agree with the ring
        # serials of each stream that the tree knows: from .. to (not included)
        self._known_from = np.zeros(0, np.int64)
        self._known_to = np.zeros(0, np.int64)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make such a sampler, in JSON's types."""
        beta = to_json(self.beta) if callable(self.beta) else self.beta
        return {"alpha": self.alpha, "beta": beta, "epsilon": self.epsilon}

    @property
    def priority_options(self) -> PriorityOptions:
        """The options as compiled code has them, ``beta`` as it is now."""
        return PriorityOptions(self.alpha, self.beta_now, self.epsilon)

    @property
    def beta_now(self) -> float:
        """What ``beta`` is for the next draw."""
        return fraction("beta", self.beta(self.draws)) if callable(self.beta) else self.beta

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        tree = self._synchronised(source)
        total = tree.total
        if total <= 0.0:
            raise NotEnoughTransitions(batch_size, 0)
        targets = rng.random(batch_size)
        targets += np.arange(batch_size)
        targets *= total / batch_size
        rows = tree.find(targets)
        masses = tree.values(rows)
        return Draw(*source.ring.identify(rows), self.weights(masses))

    def draw_sequences(
        self,
        source: Drawable,
        rng: np.random.Generator,
        batch_size: int,
        length: int,
        accept: Accept | None,
    ) -> Draw:
        """Draw runs in proportion to the mass of their first row, each independently of the others.

        Rows that no run can begin with are drawn and dropped, after some rounds more each time. If that
        finds too few, the mass of all rows is looked at.
        """
        tree, ring = self._synchronised(source), source.ring
        last = self._known_from + ring.drawable(length)  # of each stream, the first row beyond

        def fits(rows: np.ndarray) -> np.ndarray:
            streams, serials = ring.identify(rows)
            found = serials < last[streams]
            if accept is not None:
                found[found] = accept(streams[found], serials[found])
            return found

        rows, size, drawn_so_far = np.zeros(0, np.int64), 2 * batch_size, 0
        most = max(ROUNDS * size, ring.capacity // 4) if tree.total > 0.0 else 0
        while drawn_so_far < most:
            drawn = tree.find(rng.random(size) * tree.total)
            rows = np.concatenate([rows, drawn[fits(drawn)]])
            drawn_so_far += size
            if drawn_so_far >= ROUNDS * 2 * batch_size:
                size *= 2
            if len(rows) >= batch_size:
                rows = rows[:batch_size]
                return Draw(*ring.identify(rows), self.weights(tree.values(rows)))
        every = np.flatnonzero(tree.leaves > 0.0)
        every = every[fits(every)] if len(every) else every
        if not len(every):
            raise NotEnoughTransitions(batch_size, 0, f"sequences of length {length}")
        masses = tree.values(every)
        rows = every[rng.choice(len(every), batch_size, p=masses / masses.sum())]
        return Draw(*ring.identify(rows), self.weights(tree.values(rows)))

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:
        if not len(rows):
            return
        tree = self._synchronised(source)  # new rows get the largest priority seen before these
        raw = raw_priority(priorities, self.epsilon)
        self._largest = max(self._largest, raw.max().item())
        has_mass = tree.values(rows) > 0.0
        if np.count_nonzero(has_mass) < len(rows):
            rows, raw = rows[has_mass], raw[has_mass]
        tree.assign(rows, mass(raw, self.alpha))

    def clear(self) -> None:
        self._tree = None

    def state(self) -> dict[str, np.ndarray]:
        largest = {"largest": np.array([self._largest]), "draws": np.array([self.draws])}
        if self._tree is None:
            return largest
        leaves = self._tree.leaves[:]
        leaves.flags.writeable = False
        return largest | {
            "leaves": leaves,
            "known_from": self._known_from.copy(),
            "known_to": self._known_to.copy(),
        }

    def restore(self, source: Drawable, state: Mapping[str, Any]) -> None:
        """Set what :meth:`state` returned; its arrays may be parts of a file, read by slices."""
        one = np.zeros(1, np.int64)
        largest = positive("largest", _sound(state, "largest", np.zeros(1))[0])
        draws = int(_sound(state, "draws", one)[0]) if "draws" in state else 0
        if draws > LARGEST_INDEX:
            raise ValueError(f"draws={draws}, more than any process makes")
        self._largest, self.draws, self._tree = largest, draws, None
        if "leaves" in state:
            self._restore_masses(source.ring, state)

    def _restore_masses(self, ring: Ring, state: Mapping[str, Any]) -> None:
        """Set the masses of the stored rows; those of rows that were overwritten since are dropped."""
        since, until = (_sound(state, name, ring.written) for name in ("known_from", "known_to"))
        begin = ring.written - ring.sizes + ring.skipped
        end = begin + ring.drawable()
        if np.any((since > begin) | (since > until) | (until > end) | (until - since > ring.length)):
            raise ValueError("known_from and known_to do not fit the rows that are stored")
        leaves = state["leaves"]
        _check_like("leaves", leaves, (ring.capacity,), np.float64)
        tree = SumTree(ring.capacity)
        for start in range(0, ring.capacity, ROWS_READ_AT_ONCE):
            masses = np.array(leaves[start : start + ROWS_READ_AT_ONCE])
            _check_values("leaves", masses)
            places = np.flatnonzero(masses)
            if not len(places):
                continue
            rows = places + start
            streams = rows // ring.length
            newest = until[streams] - 1
            serials = newest - (newest - rows) % ring.length
            if np.any(serials < since[streams]):
                raise ValueError("leaves holds priorities of rows that are not stored")
            masses[places[serials < begin[streams]]] = 0.0
            tree.assign_run(start, masses)
        self._tree, self._known_from, self._known_to = tree, begin, np.maximum(until, begin)
        self._seen = None

    def total(self, source: Drawable) -> float:
        """Return the mass of all rows together."""
        return self._synchronised(source).total

    def at(self, source: Drawable, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows, masses), each [N], where the running sum of masses passes ``targets`` [N]."""
        tree = self._synchronised(source)
        rows = tree.find(targets)
        return rows, tree.values(rows)

    def raise_largest(self, source: Drawable, largest: float) -> None:
        """Give new rows at least the raw priority ``largest``, which another buffer's row was given."""
        if largest > self._largest:
            self._synchronised(source)  # rows that are there already were new before
            self._largest = largest

    def masses(self, source: Drawable) -> tuple[np.ndarray, float]:
        """Return (mass of every row [capacity] float64, the largest raw priority seen): a copy."""
        return self._synchronised(source).leaves.copy(), self._largest

    def weights(self, masses: np.ndarray) -> np.ndarray:
        """Return the importance weights [B] float32 of a draw of these ``masses`` [B]; count it."""
        weights = importance_weights(masses.min(), masses, self.beta_now)
        self.draws += 1
        return weights.astype(np.float32)

    def _synchronised(self, source: Drawable) -> SumTree:
        """Return the tree after taking in the rows that came and went since the last draw."""
        ring = source.ring
        if self._tree is not None and self._ring is ring and (self._seen == ring.written).all():
            return self._tree
        self._belong_to(source)
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
        self._seen = ring.written.copy()
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
        start = max(int(start), stop - ring.length)
        if start < stop:
            self._assign(ring, stream, start, np.zeros(stop - start))

    def _learn(self, source: Drawable, stream: int, start: int, stop: int) -> None:
        assert self._tree is not None
        if start < stop:
            serials = np.arange(start, stop)
            valid = source.valid_rows(np.full(len(serials), stream), serials)
            masses = np.where(valid, mass(self._largest, self.alpha), 0.0)
            self._assign(source.ring, stream, int(start), masses)

    def _assign(self, ring: Ring, stream: int, start: int, masses: np.ndarray) -> None:
        """Set the ``masses`` [1 <= N <= length] of the rows of ``stream`` from serial ``start`` on."""
        assert self._tree is not None
        place = start % ring.length
        before_end = masses[: ring.length - place]
        self._tree.assign_run(stream * ring.length + place, before_end)
        if len(before_end) < len(masses):
            self._tree.assign_run(stream * ring.length, masses[len(before_end) :])

    def _drop_broken_stacks(self, source: Drawable, begin: np.ndarray, end: np.ndarray) -> None:
        """Take the mass from the oldest rows whose first frames were overwritten since."""
        assert self._tree is not None
        for stream, (start, stop) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            serials = np.arange(start, min(start + source.ring.breakable, stop))
            if len(serials):
                valid = source.valid_rows(np.full(len(serials), stream), serials)
                rows = source.ring.rows(stream, serials[~valid])
                self._tree.assign(rows, np.zeros(len(rows)))


def _sound(state: Mapping[str, Any], name: str, like: np.ndarray) -> np.ndarray:
    """Return a copy of a saved array, or raise ValueError where it can't be what was saved."""
    _check_like(name, state[name], like.shape, like.dtype)
    found = np.array(state[name])
    _check_values(name, found)
    return found


def _check_like(name: str, found: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if tuple(found.shape) != shape or found.dtype != dtype:
        raise ValueError(f"{name} has shape {found.shape} and dtype {found.dtype}")


def _check_values(name: str, found: np.ndarray) -> None:
    if not np.all((found >= 0) & (found <= LARGEST_PRIORITY)):
        raise ValueError(f"{name} holds values that are not finite, or below 0")
