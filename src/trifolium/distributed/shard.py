"""Shard: a part of the rows of a ShardedBuffer. It knows nothing of other processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import numpy as np

from trifolium.distributed.messages import (
    Notes,
    Piece,
    Proposal,
    Proposed,
    Rule,
    ShardRows,
    ShardStatus,
    Source,
    Wanted,
)
from trifolium.replay import Buffer, Prioritized, Uniform
from trifolium.replay.host.samplers import draw_ordinals
from trifolium.replay.rules.assemble import Packed

__all__ = ["Shard"]

_NONE = np.zeros(0, np.int64)


class Shard:
    """The rows of some streams, in a :class:`trifolium.Buffer` on NumPy.

    A driver asks it for rows of many minibatches in one call, and sends new priorities along.

    Args:
        options: of the Buffer.

    >>> from trifolium import Uniform
    >>> shard = Shard({"capacity": 100, "obs_shape": (2,), "sampler": Uniform(), "seed": 0})
    >>> shard.status().drawable
    0
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.buffer = Buffer(**options)
        self.token = uuid4().hex
        self._steps = 0
        self._limit: int | None = None
        self._calls: dict[str, tuple[int, int]] = {}  # of each writer: calls it made, and those lost
        self._came: dict[
            int, tuple[str, int]
        ] = {}  # of each stream: its writer, and calls lost by then

    # Writing

    def write(self, pieces: Sequence[Piece], source: Source | None = None) -> bool:
        """Store steps, and return :meth:`is_open`.

        Args:
            pieces: the steps.
            source: where they come from. Where steps before them were lost, or another writer had the
                stream, the episode ends: a step is never joined to one that did not follow it.
        """
        if source is not None:
            self._end_broken(pieces, source)
        for streams, chunk, blank in pieces:
            if chunk is None:
                end = self.buffer.add_empty if blank else self.buffer.end_episode
                for stream in streams.tolist():
                    end(stream)
            else:
                self.buffer._store.put_chunk(streams, chunk)
                self._steps += chunk.terminated.size
        return self.is_open()

    def is_open(self) -> bool:
        """Return whether writers may send more; else they wait until the learner has drawn more."""
        return self._limit is None or self._steps < self._limit

    def heed(self, notes: Notes) -> None:
        """Set the limit, and new priorities; rows that were overwritten are skipped."""
        if notes.token != self.token:
            return  # they were for one that died
        self._limit = notes.limit
        buffer, sampler = self.buffer, self.buffer.sampler
        if not isinstance(sampler, Prioritized):
            return
        for indices, priorities, largest in notes.updates:
            buffer.update_priorities(indices, priorities)
            sampler.raise_largest(buffer._store, largest)

    def process_bytes(self) -> int:
        """Return the memory of this process, without what it shares with others; 0 if not known."""
        with suppress(OSError), open("/proc/self/status") as file:
            sizes = dict(line.split(":", 1) for line in file)
            resident, shared = (int(sizes[name].split()[0]) for name in ("VmRSS", "RssShmem"))
            return (resident - shared) * 1024
        return 0

    # Drawing

    def status(self, notes: Notes | None = None, span: int = 1) -> ShardStatus:
        """Heed the driver's notes, and return what can be drawn."""
        if notes is not None:
            self.heed(notes)
        ring, sampler = self.buffer._store.ring, self.buffer.sampler
        return ShardStatus(
            token=self.token,
            rows=len(self.buffer),
            drawable=ring.count_drawable(span),
            mass=sampler.total(self.buffer._store) if isinstance(sampler, Prioritized) else 0.0,
            steps=self._steps,
        )

    def draw(self, wanted: Wanted, notes: Notes) -> ShardRows:
        """Heed the driver's notes, and draw the shard's part of some minibatches."""
        self.heed(notes)
        if wanted.targets is None:
            streams, serials, counts, masses = self._drawn_uniformly(wanted)
        else:
            streams, serials, counts, masses = self._found(wanted)
        indices = self.buffer._store.ring.indices(streams, serials)
        packed = self._gathered(streams, serials, wanted.span) if len(streams) else None
        return ShardRows(packed, indices, masses, counts, self.status(span=wanted.span))

    def propose(self, proposal: Proposal, notes: Notes) -> Proposed:
        """Heed the driver's notes; return runs, and which of them can be drawn and follow the rule."""
        self.heed(notes)
        ring, span, masses = self.buffer._store.ring, proposal.span, None
        if proposal.targets is None:
            assert proposal.ordinals is not None
            exists = proposal.ordinals < ring.count_drawable(span)
            streams, serials = ring.locate(np.where(exists, proposal.ordinals, 0), span)
            if not exists.any():
                nothing = np.zeros(len(exists), np.int64)
                return Proposed(exists, nothing, None, self.status(span=span))
        else:
            rows, masses = self._at(proposal.targets, proposal.mass)
            streams, serials = ring.identify(rows)
            exists = (masses > 0.0) & self._can_begin(streams, serials, span)
        accepted = exists.copy()
        accepted[exists] = self._follow(proposal.rule, streams[exists], serials[exists], span)
        return Proposed(accepted, ring.indices(streams, serials), masses, self.status(span=span))

    def every(self, rule: Rule, span: int) -> Proposed:
        """Return all runs that can be drawn and follow the rule."""
        store, sampler, masses = self.buffer._store, self.buffer.sampler, None
        streams, serials = store.ring.locate(np.arange(store.ring.count_drawable(span)), span)
        accepted = self._follow(rule, streams, serials, span)
        if isinstance(sampler, Prioritized):
            masses = sampler.masses(store)[0][store.ring.rows(streams, serials)]
            accepted &= masses > 0.0
            masses = masses[accepted]
        indices = store.ring.indices(streams, serials)[accepted]
        return Proposed(np.ones(len(indices), bool), indices, masses, self.status(span=span))

    def take(self, indices: np.ndarray, span: int = 1) -> tuple[Packed | None, np.ndarray]:
        """Return (the rows, or runs, with these ``indices`` [N]; which of them are stored, [N] bool).

        The rows are None unless all are stored. Single rows that can't be drawn now are invalid.
        """
        store, count = self.buffer._store, self.buffer.n_streams
        _, stored = store.ring.current_rows(indices)
        if not stored.all():
            return None, stored
        streams, serials = indices % count, indices // count
        packed = self._gathered(streams, serials, span)
        if span == 1:
            packed.scalars[2, ~store.ring.is_drawable(streams, serials)] = 0.0
        return packed, stored

    def recent(self, stream: int) -> list[np.ndarray]:
        """Return of each leaf the frames before the newest observation of a stream."""
        found: list[np.ndarray] = self.buffer._store.recent(stream)
        return found

    def last_transition(self, offset: int, stream: int) -> tuple[Any, float, bool] | None:
        """Return (action, reward, done), as :meth:`trifolium.Buffer.last_transition`."""
        return self.buffer.last_transition(offset, stream)

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the shard to a file."""
        self.buffer.save(path)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Replace the rows, the priorities and the generator by those of a file."""
        sampler = self.buffer.sampler
        fresh = type(sampler)(**getattr(sampler, "options", {}))
        self.buffer = Buffer.load(path, backend="numpy", sampler=fresh)

    def adopt(self, seed: int, largest: float, path: str | None) -> None:
        """Begin in the place of a shard that died.

        Args:
            seed: of the generator.
            largest: the largest raw priority that any shard was given so far.
            path: a file of the dead one; None, or one that is gone, to begin empty.
        """
        if path is not None and not os.path.isfile(path):
            path = None  # the save was removed
        if path is not None:
            self.restore(path)
            self.buffer.end_episode()  # steps after the save are lost
        self.buffer.rng = np.random.Generator(np.random.Philox(seed))
        sampler, store = self.buffer.sampler, self.buffer._store
        if isinstance(sampler, Prioritized):
            if path is None:  # rows that writers sent meanwhile are new ones
                sampler.restore(store, {"largest": np.array([largest])})
            sampler.raise_largest(store, largest)

    # Helpers

    def _end_broken(self, pieces: Sequence[Piece], source: Source) -> None:
        """End the episodes in which steps are missing before these."""
        writer, number = source
        made, lost = self._calls.get(writer, (0, 0))
        lost += number - made
        self._calls[writer] = number + 1, lost
        for stream in {each for piece in pieces for each in piece.streams.tolist()}:
            if self._came.get(stream, (writer, lost)) != (writer, lost):
                self.buffer.end_episode(stream)
            self._came[stream] = writer, lost

    def _drawn_uniformly(
        self, wanted: Wanted
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], np.ndarray | None]:
        buffer, span = self.buffer, wanted.span
        assert isinstance(buffer.sampler, Uniform)
        again = buffer.sampler.replacement and span == 1
        ring = buffer._store.ring
        most = ring.count_drawable(span)
        counts = tuple([count if count <= most or (again and most) else 0 for count in wanted.counts])
        drawn = [draw_ordinals(buffer.rng, most, count, again) for count in counts if count]
        if not drawn:
            return _NONE, _NONE, counts, None
        return *ring.locate(np.concatenate(drawn), span), counts, None

    def _found(
        self, wanted: Wanted
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], np.ndarray | None]:
        """Return the rows at targets."""
        assert wanted.targets is not None
        rows, masses = self._at(wanted.targets, wanted.mass)
        if not np.all(masses > 0.0):  # nothing has a mass
            return _NONE, _NONE, (0,) * len(wanted.counts), np.zeros(0)
        return *self.buffer._store.ring.identify(rows), wanted.counts, masses

    def _at(self, targets: np.ndarray, mass: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows, masses) at targets, which were chosen when all rows had ``mass`` together.

        If the mass has changed since, targets are scaled to what it is now. A row was then drawn with a
        probability that differs by that factor, and so does the mass that is returned.
        """
        store, sampler = self.buffer._store, self.buffer.sampler
        assert isinstance(sampler, Prioritized)
        total = sampler.total(store)
        is_same = total == mass or total <= 0.0
        rows, masses = sampler.at(store, targets if is_same else targets * (total / mass))
        return rows, masses if is_same else masses * (mass / total)

    def _can_begin(self, streams: np.ndarray, serials: np.ndarray, span: int) -> np.ndarray:
        """Return [N] bool: which rows are the first of a run that can be drawn."""
        ring = self.buffer._store.ring
        oldest = ring.written - ring.sizes + ring.skipped
        places = serials - oldest[streams]
        found: np.ndarray = (places >= 0) & (places < ring.drawable(span)[streams])
        return found

    def _follow(self, rule: Rule, streams: np.ndarray, serials: np.ndarray, span: int) -> np.ndarray:
        """Return [N] bool: which runs follow the rule."""
        store = self.buffer._store
        if rule == "" or not len(streams):
            return np.ones(len(streams), bool)
        if rule == "valid":
            return store.valid_rows(streams, serials)
        return store.unbroken(streams, serials, span)

    def _gathered(self, streams: np.ndarray, serials: np.ndarray, span: int) -> Packed:
        """Return the rows of runs that begin with these, gathered."""
        store = self.buffer._store
        if span > 1:
            serials = (serials[:, None] + np.arange(span)).reshape(-1)
            streams = np.repeat(streams, span)
        _, packed = store.columns.material(store.plan(streams, serials))
        assert isinstance(packed, Packed)
        return packed
