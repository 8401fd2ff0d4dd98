"""TrafficMeter: measures how fast actors, the learner and the shards of a run work."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from trifolium.distributed.actors import Actors
from trifolium.distributed.sharded import ShardedBuffer
from trifolium.distributed.transport import ProcessLost
from trifolium.experiment.runners.traffic import Traffic
from trifolium.models import BaseModel, Learner

__all__ = ["TrafficMeter"]

WINDOW = 1.0  # seconds that rates are means over, at least


class _Reading(NamedTuple):
    time: float
    steps: int
    drawn: int
    updates: int


class TrafficMeter:
    """Rates of a run, from counters that are here; the memory of the shards is asked for now and then.

    Args:
        actors: that act.
        memory: that they fill.
        model: that learns.
    """

    def __init__(self, actors: Actors, memory: ShardedBuffer, model: BaseModel) -> None:
        self._actors, self._memory, self._model = actors, memory, model
        self._updates_at: dict[int, int] = {}  # updates before each version of the policy
        self._last = self._reading()
        self._found: Traffic | None = None
        self._sizes = [0] * memory.shards
        self._asked: dict[int, Any] = {}

    def published(self) -> None:
        """Note that the actors have a new policy."""
        actors = self._actors
        self._updates_at[actors.version] = self._updates()
        for version in [each for each in self._updates_at if each < actors.oldest]:
            del self._updates_at[version]

    def traffic(self) -> Traffic | None:
        """Return the rates since the last call that is a second ago; None in the first second."""
        now, before = self._reading(), self._last
        seconds = now.time - before.time
        if seconds >= WINDOW:
            self._last = now
            self._measure_shards()
            steps = now.steps - before.steps
            oldest = self._updates_at.get(self._actors.oldest, now.updates)
            self._found = Traffic(
                steps_per_second=steps / seconds,
                updates_per_second=(now.updates - before.updates) / seconds,
                samples_per_insert=(now.drawn - before.drawn) / max(steps, 1),
                policy_age=now.updates - oldest,
                shard_bytes=tuple(self._sizes),
            )
        return self._found

    def _updates(self) -> int:
        return self._model.progress.updates if isinstance(self._model, Learner) else 0

    def _reading(self) -> _Reading:
        return _Reading(time.monotonic(), self._actors.steps, self._memory.drawn, self._updates())

    def _measure_shards(self) -> None:
        """Take in the answers that have come, without waiting, and ask again."""
        transport = self._memory.transport
        for shard in range(self._memory.shards):
            if shard in self._asked:
                if not transport.are_ready([self._asked[shard]])[0]:
                    continue
                try:
                    self._sizes[shard] = transport.wait(self._asked[shard])
                except ProcessLost:
                    self._sizes[shard] = 0
            self._asked[shard] = transport.begin(shard, "process_bytes")
