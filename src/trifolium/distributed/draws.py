"""ShardedDraws: minibatches drawn from all shards together, as arrays on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trifolium.distributed.group import ShardGroup
from trifolium.distributed.messages import Proposal, Rule, ShardRows, Wanted
from trifolium.distributed.packing import joined
from trifolium.distributed.splits import cut, stratified, uniform_counts
from trifolium.distributed.transport import ProcessLost
from trifolium.errors import NotEnoughTransitions
from trifolium.replay import Prioritized, Sampler, Uniform
from trifolium.replay.rules.assemble import Packed
from trifolium.replay.schema import BufferSpec

__all__ = ["HostBatch", "PendingDraw", "ShardedDraws"]

TRIES = 20  # of a draw, in each of which a shard dies or loses rows that were to be drawn
ROUNDS = 4  # of proposals, after which all runs are looked at


class HostBatch(NamedTuple):
    """A minibatch on the host: its rows, and their indices in the whole memory."""

    packed: Packed
    indices: np.ndarray


class PendingDraw(NamedTuple):
    """Minibatches that are being drawn."""

    n_batches: int
    batch_size: int
    span: int
    handles: dict[int, Any]


class ShardedDraws:
    """Draws with the law of one buffer, of the rows that the shards held when they answered last.

    Args:
        group: the shards.
        spec: of the whole memory.
        sampler: of the whole memory.
        rng: divides draws over shards.
    """

    def __init__(
        self, group: ShardGroup, spec: BufferSpec, sampler: Sampler, rng: np.random.Generator
    ) -> None:
        self._group, self._spec, self.sampler, self.rng = group, spec, sampler, rng

    def one(self, batch_size: int, span: int = 1, rule: Rule = "") -> HostBatch:
        """Draw a minibatch of single rows, or of runs. The statuses must be of this ``span``."""
        is_uniform = isinstance(self.sampler, Uniform)
        if span == 1 and isinstance(self.sampler, Uniform) and self.sampler.valid_only:
            rule = "valid"
        if rule or not (is_uniform or span == 1):
            return self._again(lambda: self._accepted(batch_size, span, rule), span)
        return self._again(lambda: self.finish(self.begin(batch_size, 1, span))[0], span)

    def begin(self, batch_size: int, n_batches: int, span: int = 1) -> PendingDraw:
        """Begin to draw minibatches, without waiting.

        Raises:
            NotEnoughTransitions: fewer rows can be drawn.
        """
        wanted = (
            self._targets(batch_size, n_batches)
            if isinstance(self.sampler, Prioritized)
            else self._counts(batch_size, n_batches, span)
        )
        return PendingDraw(n_batches, batch_size, span, self._group.begin("draw", wanted))

    def finish(self, draw: PendingDraw) -> list[HostBatch | None]:
        """Return the minibatches; None for those of which some rows are gone."""
        answers: dict[int, ShardRows] = self._group.wait(draw.handles, draw.span)
        ends = {shard: np.cumsum((0, *answer.counts)) for shard, answer in answers.items()}
        found: list[HostBatch | None] = []
        for number in range(draw.n_batches):
            parts = {
                shard: slice(int(each[number]), int(each[number + 1])) for shard, each in ends.items()
            }
            parts = {shard: part for shard, part in parts.items() if part.start < part.stop}
            whole = sum(part.stop - part.start for part in parts.values()) == draw.batch_size
            found.append(self._batch(answers, parts, draw.span) if whole else None)
        return found

    def fetch(self, shards: np.ndarray, rows: np.ndarray, span: int = 1) -> Packed | np.ndarray:
        """Return the rows, or runs, in the given order, or which of them are stored, [N] bool."""
        stored, pieces, order = np.ones(len(rows), bool), [], []
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            try:
                packed, found = self._group.ask(shard, "take", rows[places], span)
            except ProcessLost:
                packed, found = None, np.zeros(len(places), bool)
            stored[places] = found
            if packed is not None:
                pieces.append((packed, slice(None)))
                order.append(places)
        if not stored.all():
            return stored
        place = np.argsort(np.concatenate(order), kind="stable")
        return joined(self._spec, pieces, (place[:, None] * span + np.arange(span)).reshape(-1))

    # Helpers

    def _again(self, draw: Any, span: int) -> HostBatch:
        """Draw again, from what is left, where rows are gone that were to be drawn."""
        for _ in range(TRIES):
            found: HostBatch | None = draw()
            if found is not None:
                return found
            self._group.refresh(span)
        raise RuntimeError(f"shards died or lost rows during {TRIES} draws, one after another")

    def _drawable(self) -> list[int]:
        return [status.drawable if status else 0 for status in self._group.statuses]

    def _masses(self) -> list[float]:
        return [status.mass if status else 0.0 for status in self._group.statuses]

    def _counts(self, batch_size: int, n_batches: int, span: int) -> dict[int, Wanted]:
        """Return how many rows each shard is to draw."""
        drawable = self._drawable()
        again = isinstance(self.sampler, Uniform) and self.sampler.replacement and span == 1
        if sum(drawable) < (1 if again else batch_size):
            raise _too_few(batch_size, sum(drawable), span)
        counts = np.array(
            [
                uniform_counts(self.rng, drawable, batch_size, replacement=again)
                for _ in range(n_batches)
            ]
        )
        return {
            shard: Wanted(tuple(each), span)
            for shard, each in enumerate(counts.T.tolist())
            if any(each)
        }

    def _targets(self, batch_size: int, n_batches: int) -> dict[int, Wanted]:
        """Return at which sums of masses each shard is to draw rows."""
        masses = self._masses()
        total = sum(masses)
        if total <= 0.0:
            raise _too_few(batch_size, 0, 1)
        cuts = [cut(stratified(self.rng, total, batch_size), masses) for _ in range(n_batches)]
        found = {}
        for shard, mass in enumerate(masses):
            targets = [each.local[each.shards == shard] for each in cuts]
            counts = tuple(len(each) for each in targets)
            if any(counts):
                found[shard] = Wanted(counts, 1, np.concatenate(targets), mass)
        return found

    def _batch(self, answers: dict[int, ShardRows], parts: dict[int, slice], span: int) -> HostBatch:
        pieces, indices, masses = [], [], []
        for shard, part in parts.items():
            answer = answers[shard]
            assert answer.packed is not None
            pieces.append((answer.packed, slice(part.start * span, part.stop * span)))
            indices.append(self._group.global_indices(shard, answer.indices[part]))
            if answer.masses is not None:
                masses.append(answer.masses[part])
        return self._weighted(joined(self._spec, pieces), np.concatenate(indices), masses, span)

    def _weighted(
        self, packed: Packed, indices: np.ndarray, masses: Sequence[np.ndarray], span: int
    ) -> HostBatch:
        if isinstance(self.sampler, Prioritized):
            weights = self.sampler.weights(np.concatenate(masses))
            packed.scalars[4, :, 0] = np.repeat(weights, span)
        return HostBatch(packed, indices)

    # Draws of which some are not accepted

    def _accepted(self, batch_size: int, span: int, rule: Rule) -> HostBatch | None:
        """Draw runs that follow a rule, as one buffer does: propose, and drop the others."""
        n = len(self._group.statuses)
        shards, rows, masses = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        for _ in range(ROUNDS):
            found = self._proposed(2 * batch_size, span, rule)
            if found is None:
                break
            shards, rows, masses = (
                np.concatenate(pair) for pair in zip((shards, rows, masses), found, strict=True)
            )
            if self._is_distinct(span):
                first = np.unique(rows * n + shards, return_index=True)[1]
                first.sort()
                shards, rows, masses = shards[first], rows[first], masses[first]
            if len(rows) >= batch_size:
                break
        if len(rows) < batch_size:
            shards, rows, masses = self._every(batch_size, span, rule)
        chosen = slice(batch_size)
        return self._taken(shards[chosen], rows[chosen], masses[chosen], span)

    def _is_distinct(self, span: int) -> bool:
        """Return whether a run may come once only."""
        return isinstance(self.sampler, Uniform) and not (self.sampler.replacement and span == 1)

    def _proposed(
        self, count: int, span: int, rule: Rule
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return (shards, rows, masses) of independent draws that are accepted, in a random order."""
        is_uniform = isinstance(self.sampler, Uniform)
        sizes: Any = self._drawable() if is_uniform else self._masses()
        if sum(sizes) <= 0:
            return None
        drawn = self.rng.integers(sum(sizes), size=count) if is_uniform else None
        places = cut(self.rng.random(count) * sum(sizes) if drawn is None else drawn, sizes)
        proposals = {}
        for shard in np.unique(places.shards).tolist():
            local = places.local[places.shards == shard]
            proposals[shard] = (
                Proposal(rule, span, local)
                if is_uniform
                else Proposal(rule, span, None, local, sizes[shard])
            )
        answers = self._group.wait(self._group.begin("propose", proposals), span)
        accepted, rows, masses = np.zeros(count, bool), np.zeros(count, np.int64), np.zeros(count)
        for shard, answer in answers.items():
            which = places.shards == shard
            accepted[which], rows[which] = answer.accepted, answer.indices
            if answer.masses is not None:
                masses[which] = answer.masses
        return places.shards[accepted], rows[accepted], masses[accepted]

    def _every(
        self, batch_size: int, span: int, rule: Rule
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw from all runs that follow the rule, which the shards look for."""
        shards, rows, masses = [], [], []
        for shard, status in enumerate(self._group.statuses):
            if status is None:
                continue
            try:
                answer = self._group.ask(shard, "every", rule, span)
            except ProcessLost:
                continue
            shards.append(np.full(len(answer.indices), shard))
            rows.append(answer.indices)
            masses.append(np.ones(len(rows[-1])) if answer.masses is None else answer.masses)
        available = sum(map(len, rows))
        distinct = self._is_distinct(span)
        if available < (batch_size if distinct else 1):
            raise _too_few(batch_size, available, span, rule)
        mass = np.concatenate(masses)
        chances = None if isinstance(self.sampler, Uniform) else mass / mass.sum()
        chosen = self.rng.choice(available, batch_size, replace=not distinct, p=chances)
        return np.concatenate(shards)[chosen], np.concatenate(rows)[chosen], mass[chosen]

    def _taken(
        self, shards: np.ndarray, rows: np.ndarray, masses: np.ndarray, span: int
    ) -> HostBatch | None:
        found = self.fetch(shards, rows, span)
        if isinstance(found, np.ndarray):
            return None
        indices = np.empty(len(rows), np.int64)
        for shard in np.unique(shards).tolist():
            which = shards == shard
            indices[which] = self._group.global_indices(shard, rows[which])
        return self._weighted(found, indices, [masses], span)


def _too_few(batch_size: int, available: int, span: int, rule: Rule = "") -> NotEnoughTransitions:
    if span > 1:
        within = " within an episode" if rule == "episode" else ""
        return NotEnoughTransitions(batch_size, available, f"sequences of length {span}{within}")
    return NotEnoughTransitions(batch_size, available, "valid transitions" if rule else "transitions")
