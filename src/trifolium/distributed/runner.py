"""ActorsRunner: a runner whose environments are in the processes of actors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trifolium.distributed.actors import Actors
from trifolium.distributed.meter import TrafficMeter
from trifolium.distributed.rollouts import MakeRunner
from trifolium.distributed.sharded import ShardedBuffer
from trifolium.experiment.runners.runner import MODEL, EpisodeEnd
from trifolium.experiment.runners.traffic import Traffic
from trifolium.models import BaseModel

__all__ = ["ActorsRunner"]

CHUNK = 64  # environment steps of an actor between two policies, at least
PUBLISHED = 0.05  # seconds between two policies, at least; each is copied to every machine
PAUSE = 0.001  # seconds between two questions whether actors took steps


class ActorsRunner:
    """Lets actors act by the newest policy; a :class:`~trifolium.experiment.runners.Runner`.

    A step of it is ``width`` steps of their environments, of whichever actors took them first; so the
    experiment makes as many updates as its options ask for, and actors, which have two calls ahead at
    most, wait for it. A policy is published twenty times a second at most. In lockstep a step is one
    step of each environment of each actor, by the newest policy.

    A run that is resumed begins new episodes, with other seeds.

    Args:
        model: which learns; its memory is a ShardedBuffer.
        make_runner: makes the runner of an actor, in its process.
        actors: how many.
        lockstep: whether all actors take one step by the newest policy, and are waited for.
        seed: of their episodes.
        cores: that each reserves on the cluster.

    Attributes:
        width: environment steps that a step counts as.
        agents: the names of the actors.
    """

    def __init__(
        self,
        model: BaseModel,
        make_runner: MakeRunner,
        actors: int,
        *,
        lockstep: bool = False,
        seed: int = 0,
        cores: float = 1,
    ) -> None:
        memory: Any = model.memory
        if not isinstance(memory, ShardedBuffer):
            raise ValueError(
                f"actors={actors}: the model's memory is a {type(memory).__name__}; expected a "
                "ShardedBuffer, which other processes can write to"
            )
        self.models: Mapping[str, BaseModel] = {MODEL: model}
        self.agents: Sequence[str] = [f"actor-{number}" for number in range(actors)]
        share = memory.n_streams // actors
        steps = share if lockstep else -(-CHUNK // share) * share
        self.width = memory.n_streams if lockstep else steps
        self._lockstep = lockstep
        self._actors = Actors(memory, make_runner, actors, steps=steps, seed=seed, cores=cores)
        self._model = model
        self._meter = TrafficMeter(self._actors, memory, model)
        self._published_at = -PUBLISHED
        self._counted = 0
        self.episodes = 0

    def step(self) -> Sequence[EpisodeEnd]:
        """Publish the policy if it is due; return what ended until ``width`` more steps were taken."""
        now = time.monotonic()
        if self._lockstep or now - self._published_at >= PUBLISHED:
            self._published_at = now
            self._actors.publish(self._model)
            self._meter.published()
        self._counted += self.width
        ends: list[EpisodeEnd] = []
        while self._actors.steps < self._counted:
            found = self._actors.rollouts(wait=self._lockstep)
            for number, rollout in found:
                ends += [replace(end, agent=self.agents[number]) for end in rollout.ends]
            if not found:
                time.sleep(PAUSE)
        self.episodes += len(ends)
        return ends

    def traffic(self) -> Traffic | None:
        """Return how fast actors, the learner and the shards work; None in the first second."""
        return self._meter.traffic()

    def state(self) -> dict[str, Any]:
        """Return how often the run began."""
        return {"episodes": self.episodes, "beginnings": self._actors.beginnings}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Begin new episodes, with seeds that were not used before :meth:`state`."""
        if state:
            self.episodes = int(state["episodes"])
            self._actors.beginnings = int(state["beginnings"]) + 1

    def close(self) -> None:
        """End the actors, and the shards of the memory."""
        memory: Any = self._model.memory
        self._actors.close()
        memory.close()
