"""Actors: workers that fill a ShardedBuffer, and the policies that they act by."""

from __future__ import annotations

import warnings
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from trifolium import _checks as checks
from trifolium.distributed.policy import Policy
from trifolium.distributed.rollouts import MakeRunner, Rollout, RolloutWorker
from trifolium.distributed.sharded import ShardedBuffer
from trifolium.distributed.transport import ProcessLost
from trifolium.models import BaseModel

if TYPE_CHECKING:  # which loads Gymnasium
    from trifolium.experiment.runners.runner import EpisodeEnd

__all__ = ["Actors"]

CALLS = 2  # of a worker that are on their way, so that it need not wait for the learner


class Actors:
    """Workers that act in processes of their own, where the shards of a memory are such processes.

    Each has an equal share of the memory's streams. :meth:`collect` keeps them busy; the learner never
    waits for them, unless the memory's ``samples_per_insert`` says so. A worker that dies is replaced,
    with one warning; the episodes that it left open end.

    Args:
        memory: which they fill.
        make_runner: ``make_runner(memory, seed)`` returns the runner of a worker, whose model has that
            memory; it is called in the worker's process. So it must not use what is here alone.
        actors: how many; a divisor of the memory's ``n_streams``.
        steps: environment steps between two policies.
        seed: of their episodes.
        cores: that each reserves on the cluster.

    Attributes:
        steps: environment steps that were taken.
        version: of the newest policy.
        beginnings: how often the run began before; the seeds of episodes depend on it.
        oldest: the oldest version that acted in the last :meth:`collect`; -1 before any policy.
        transport: how calls reach the workers.

    >>> import trifolium as tri
    >>> from trifolium.experiment.runners.vector import VectorRunner
    >>> from trifolium.worlds.gym import make_vector
    >>> def make_runner(memory, seed):
    ...     model = tri.DDQN(4, 2, memory.spec.capacity, memory=memory, epsilon=0.1, seed=seed)
    ...     return VectorRunner(make_vector("CartPole-v1", 2), model, seed=seed)
    >>> with ShardedBuffer(1000, (4,), shards=2, n_streams=4, address=None) as memory:
    ...     model = tri.DDQN(4, 2, 1000, memory=memory, seed=0)
    ...     with Actors(memory, make_runner, actors=2, steps=40) as actors:
    ...         actors.publish(model)
    ...         ends = actors.collect(wait=True)
    ...     memory.steps
    80
    """

    def __init__(
        self,
        memory: ShardedBuffer,
        make_runner: MakeRunner,
        actors: int,
        *,
        steps: int = 64,
        seed: int = 0,
        cores: float = 1,
    ) -> None:
        count = checks.integer("actors", actors, 1)
        if memory.n_streams % count:
            raise ValueError(
                f"actors={actors} with n_streams={memory.n_streams}; expected a divisor of n_streams, "
                "as each actor has an equal share of the streams"
            )
        self._chunk = checks.integer("steps", steps, 1)
        share = memory.n_streams // count
        makers = [
            partial(RolloutWorker, make_runner, memory.writer(share, chunk=max(64, share)), seed + each)
            for each in range(count)
        ]
        self.transport = memory.transport.others(makers, cores)
        self._pending: list[deque[Any]] = [deque() for _ in makers]
        self._deaths = [0] * count
        self._dead: set[int] = set()
        self.beginnings = 0
        self._policy: Any = None
        self.version = self.oldest = -1
        self.steps = 0

    def publish(self, model: BaseModel) -> None:
        """Make the workers act by a model's policy from their next call on."""
        self.version += 1
        self._policy = self.transport.share(Policy.of(model, self.version, self.steps))

    def collect(self, *, wait: bool = False) -> list[EpisodeEnd]:
        """Return the episodes that ended, and keep the workers busy; see :meth:`rollouts`."""
        return [end for _, rollout in self.rollouts(wait=wait) for end in rollout.ends]

    def rollouts(self, *, wait: bool = False) -> list[tuple[int, Rollout]]:
        """Return what workers did, each with the worker's number, and keep them busy.

        Args:
            wait: for lockstep: every worker acts once by the newest policy, and all are waited for.
                Without, only calls that have ended are looked at.
        """
        for number, calls in enumerate(self._pending):
            while len(calls) < (1 if wait else CALLS):
                calls.append(self._begun(number, wait))
        first = [calls[0] for calls in self._pending]
        ended = [True] * len(first) if wait else self.transport.are_ready(first)
        found = []
        for number in [each for each, has_ended in enumerate(ended) if has_ended]:
            rollout = self._heard(number, self._pending[number].popleft())
            if rollout is not None:
                found.append((number, rollout))
        self.steps += sum(rollout.steps for _, rollout in found)
        self.oldest = min((rollout.version for _, rollout in found), default=self.oldest)
        return found

    def close(self) -> None:
        """End the workers."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begun(self, number: int, wait: bool) -> Any:
        incarnation = (self.beginnings << 32) + self._deaths[number]
        arguments = self._chunk, self._policy, incarnation, wait
        return self.transport.begin(number, "act", *arguments)

    def _heard(self, number: int, handle: Any) -> Rollout | None:
        try:
            found: Rollout = self.transport.wait(handle)
        except ProcessLost:
            self._deaths[number] += 1  # so that no seed is used twice
            if number not in self._dead:  # else nothing was heard since the warning
                self._dead.add(number)
                warnings.warn(
                    f"actor {number} died; another takes its place, and the episodes that it left open "
                    "end",
                    RuntimeWarning,
                    stacklevel=3,
                )
            self._pending[number].clear()  # they were lost with it
            return None
        self._dead.discard(number)
        return found
