"""ShardGroup: a driver's view of its shards: what they hold, who died, and priorities to be sent."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium.distributed.indices import INCARNATIONS, packed, unpacked
from trifolium.distributed.messages import Notes, PriorityUpdate, ShardStatus
from trifolium.distributed.transport import ProcessLost, Transport

__all__ = ["ShardGroup"]

PENDING_ROWS = 65_536  # new priorities that wait for the next draw, before they are sent alone


class ShardGroup:
    """Calls to all shards, of which some may die.

    A shard that died is left out of draws, with one warning, until another in its place answers.

    Args:
        transport: how calls reach the shards.
        seeds: of each shard.

    Attributes:
        statuses: what each shard held when it answered last; None while it does not answer.
        incarnations: how often each shard was replaced.
        largest: the largest raw priority that any row was given.
        limits: the steps that each shard may have stored before its writers wait; None for no limit.
        checkpoints: the file from which each shard comes back; None to come back empty.
    """

    def __init__(self, transport: Transport, seeds: list[int]) -> None:
        self.transport = transport
        self.statuses: list[ShardStatus | None] = [None] * len(seeds)
        self.incarnations = [0] * len(seeds)
        self.largest = 1.0
        self.limits: list[int | None] = [None] * len(seeds)
        self.steps_before = 0  # stored in shards that died, and before this memory was loaded
        self.checkpoints: list[str | None] = [None] * len(seeds)
        self._seeds = seeds
        self._tokens: list[str | None] = [None] * len(seeds)
        self._probes: dict[int, Any] = {}
        self._warned: set[int] = set()
        self._left: dict[int, int] = {}  # steps of shards that were lost, until another answers
        self._updates: list[list[PriorityUpdate]] = [[] for _ in seeds]
        self._n_updates = 0

    @property
    def steps(self) -> int:
        """Steps that were ever stored, as far as the shards have told."""
        return self.steps_before + sum(status.steps for status in self.statuses if status)

    def limit(self, left: int) -> None:
        """Let writers store ``left`` more steps, of each shard as many as its share of the shards."""
        living = [shard for shard, status in enumerate(self.statuses) if status]
        for shard in living:
            status = self.statuses[shard]
            assert status is not None
            self.limits[shard] = status.steps + -(-left // len(living))

    # Calls

    def refresh(self, span: int = 1) -> list[ShardStatus | None]:
        """Send new priorities to all shards, and return what each holds now."""
        handles = {
            shard: self.transport.begin(shard, "status", self._notes(shard), span)
            for shard in range(len(self.statuses))
            if shard not in self._probes
        }
        self._probe(span)
        for shard, handle in handles.items():
            self._heard(shard, self._result(shard, handle, self._tokens[shard]), span)
        return self.statuses

    def begin(self, method: str, requests: Mapping[int, Any]) -> dict[int, Any]:
        """Begin a call of each shard, with its request and new priorities; return the handles."""
        found = {}
        for shard, request in requests.items():
            handle = self.transport.begin(shard, method, request, self._notes(shard))
            found[shard] = self._tokens[shard], handle
        return found

    def wait(self, handles: Mapping[int, Any], span: int = 1) -> dict[int, Any]:
        """Return the answers to :meth:`begin`, which have a status, of the shards that did not die."""
        found = {}
        for shard, (known, handle) in handles.items():
            answer = self._result(shard, handle, known)
            if answer is not None:
                self._heard(shard, answer.status, span)
                if answer.status.token == known:
                    found[shard] = answer
        return found

    def ask(self, shard: int, method: str, *args: Any) -> Any:
        """Call one shard and return what it returns, or raise :class:`ProcessLost`."""
        known = self._tokens[shard]
        try:
            return self.transport.wait(self.transport.begin(shard, method, *args))
        except ProcessLost:
            self._lose(shard, known)
            raise

    def ask_all(self, method: str, arguments: list[tuple[Any, ...]]) -> None:
        """Call every shard and wait; raise :class:`ProcessLost` if one died."""
        known = list(self._tokens)
        begun = [self.transport.begin(shard, method, *args) for shard, args in enumerate(arguments)]
        for shard, handle in enumerate(begun):
            try:
                self.transport.wait(handle)
            except ProcessLost:
                self._lose(shard, known[shard])
                raise

    # Priorities

    def keep_updates(self, indices: np.ndarray, priorities: np.ndarray, largest: float) -> None:
        """Keep new priorities of rows, which are sent with the next calls.

        Args:
            indices: [N], as :meth:`global_indices` has them; those of dead incarnations are dropped.
            priorities: [N], absolute errors.
            largest: the largest raw priority among them.
        """
        grows = largest > self.largest
        self.largest = max(largest, self.largest)
        shards, incarnations, rows = unpacked(indices)
        for shard, waiting in enumerate(self._updates):
            kept = (shards == shard) & (incarnations == self.incarnations[shard] % INCARNATIONS)
            if grows or kept.any():
                waiting.append(PriorityUpdate(rows[kept], priorities[kept], self.largest))
        self._n_updates += len(indices)
        if self._n_updates > PENDING_ROWS:
            self.send_updates()

    def _notes(self, shard: int) -> Notes:
        """Return what a shard is to be told, and forget the new priorities."""
        found, self._updates[shard] = self._updates[shard], []
        if not any(self._updates):
            self._n_updates = 0
        return Notes(self._tokens[shard], found, self.limits[shard])

    def send_updates(self) -> None:
        """Send new priorities now, without waiting."""
        for shard, waiting in enumerate(self._updates):
            if waiting:
                self.transport.begin(shard, "heed", self._notes(shard))

    def is_current(self, shards: np.ndarray, incarnations: np.ndarray) -> np.ndarray:
        """Return [N] bool: which of these incarnations [N] of ``shards`` [N] live."""
        now = np.array(self.incarnations) % INCARNATIONS
        exists = (shards >= 0) & (shards < len(now))
        found: np.ndarray = exists & (now[np.where(exists, shards, 0)] == incarnations)
        return found

    def global_indices(self, shard: int, rows: np.ndarray) -> np.ndarray:
        """Return the indices of a shard's own ``rows`` in the whole memory."""
        return packed(shard, self.incarnations[shard], rows)

    # Deaths

    def _result(self, shard: int, handle: Any, known: str | None) -> Any:
        try:
            return self.transport.wait(handle)
        except ProcessLost:
            self._lose(shard, known)
            return None

    def _lose(self, shard: int, known: str | None) -> None:
        """Take in that a shard died, unless another is known in its place since.

        Args:
            shard: which shard.
            known: the token that it had when the call that failed began.
        """
        if known != self._tokens[shard]:
            return
        before = self.statuses[shard]
        if before is not None:
            self.steps_before += before.steps
            self._left[shard] = before.steps
        self.statuses[shard], self.limits[shard] = None, None
        if shard not in self._warned:
            self._warned.add(shard)
            self.incarnations[shard] += 1  # its rows are gone, and so is what was to be said of them
            self._updates[shard].clear()
            warnings.warn(
                f"shard {shard} died, with its rows; draws go on from the other shards until another "
                "takes its place, "
                + ("empty" if self.checkpoints[shard] is None else "with the rows of the last save"),
                RuntimeWarning,
                stacklevel=2,
            )
        self._probes.setdefault(shard, self.transport.begin(shard, "status"))

    def _probe(self, span: int) -> None:
        """Hear from the shards that take the place of dead ones, without waiting for them."""
        probes = list(self._probes.items())
        ended = self.transport.are_ready([handle for _, handle in probes])
        for (shard, handle), has_ended in zip(probes, ended, strict=True):
            if has_ended:
                del self._probes[shard]
                self._heard(shard, self._result(shard, handle, self._tokens[shard]), span)

    def _heard(self, shard: int, status: ShardStatus | None, span: int) -> None:
        """Take in the status of a shard, which may be another than before."""
        if status is None:
            return
        left = self._left.pop(shard, 0)
        if self._tokens[shard] == status.token:
            self.steps_before -= left  # it was out of reach for a while, and lost nothing
        elif self._tokens[shard] is not None:
            if shard not in self._warned:  # nobody has noticed that it died
                self.incarnations[shard] += 1
                self._updates[shard].clear()
            before = self.statuses[shard]
            self.steps_before += 0 if before is None else before.steps
            seed = np.random.SeedSequence([self._seeds[shard], self.incarnations[shard]])
            number = int(seed.generate_state(1, np.uint64)[0])
            place = number, self.largest, self.checkpoints[shard]
            try:
                self.transport.wait(self.transport.begin(shard, "adopt", *place))
                status = self.transport.wait(self.transport.begin(shard, "status", None, span))
            except ProcessLost:  # this one died too
                self._probes[shard] = self.transport.begin(shard, "status")
                return
            assert status is not None
        self._warned.discard(shard)
        self._tokens[shard] = status.token
        self.statuses[shard] = status
