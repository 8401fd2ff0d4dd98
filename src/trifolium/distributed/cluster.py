"""RayTransport: shards as actors of Ray. The only module that imports Ray."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from trifolium.distributed.messages import Piece
from trifolium.distributed.shard import Shard
from trifolium.distributed.transport import ShardLost

__all__ = ["RayOutlet", "RayTransport", "joined_cluster", "load_ray"]

PAUSE = 0.01  # seconds between two questions of a writer whether a shard takes more
MOST_CALLS = 4  # of a writer to a shard that may be on their way


def load_ray() -> Any:
    """Return the module ``ray``.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before it is imported
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "shards and actors in other processes need Ray: pip install 'trifolium[ray]'; "
            "ShardedBuffer(address=None) keeps its shards in this process"
        ) from error
    return ray


def joined_cluster(address: str) -> bool:
    """Join a cluster, or start Ray for ``address="local"``; return whether this call did.

    Nothing is done where this process is a part of a cluster already.
    """
    ray = load_ray()
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {}
    if address == "local":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        options = {"num_cpus": cores, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(address=address, log_to_driver=False, **options)
    return True


class RayTransport:
    """Shards as actors of Ray; Ray puts another in the place of one that dies.

    They reserve no cores, and are spread over the machines of the cluster. They end with the process
    that made them.

    Args:
        options: makes the options of the Buffer of each shard.
        address: as for :class:`~trifolium.distributed.ShardedBuffer`.
    """

    def __init__(self, options: Sequence[Callable[[], Mapping[str, Any]]], *, address: str) -> None:
        self._ray = ray = load_ray()
        self._started = joined_cluster(address)
        kind = ray.remote(Shard).options(
            num_cpus=0, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self.actors = [kind.remote(dict(make())) for make in options]
        errors = ray.exceptions
        self._lost: Any = (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError)

    def begin(self, shard: int, method: str, *args: Any) -> Any:
        """Begin a call; see :class:`~trifolium.distributed.transport.Transport`."""
        return getattr(self.actors[shard], method).remote(*args)

    def wait(self, handle: Any) -> Any:
        """Return what the call returned, or raise ShardLost."""
        try:
            return self._ray.get(handle)
        except self._lost as error:
            raise ShardLost(str(error)) from error

    def is_ready(self, handle: Any) -> bool:
        """Return whether the call has ended."""
        return bool(self._ray.wait([handle], timeout=0)[0])

    def outlet(self) -> RayOutlet:
        """Return a new way for the steps of a writer."""
        return RayOutlet(self.actors)

    def close(self) -> None:
        """End the shards, and Ray if it was started here."""
        if not self._ray.is_initialized():
            return
        for actor in self.actors:
            with suppress(*self._lost):
                self._ray.kill(actor, no_restart=True)
        self.actors = []
        if self._started:
            self._ray.shutdown()


class RayOutlet:
    """The way of a writer's steps to shards on Ray.

    Args:
        actors: the shards.
    """

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)
        self._sent: list[deque[Any]] = [deque() for _ in actors]

    def send(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Send steps; wait while ``MOST_CALLS`` calls are on their way."""
        sent = self._sent[shard]
        while len(sent) >= MOST_CALLS:
            self._end(shard, sent.popleft())
        sent.append(self._actors[shard].write.remote(pieces))

    def flush(self) -> None:
        """Wait until all that was sent is stored."""
        for shard, sent in enumerate(self._sent):
            while sent:
                self._end(shard, sent.popleft())

    def _end(self, shard: int, handle: Any) -> None:
        """Wait for a call, and until the shard takes more.

        Steps for a shard that died are lost, as its rows are.
        """
        ray = load_ray()
        with suppress(ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError):
            is_open = ray.get(handle)
            while not is_open:
                time.sleep(PAUSE)
                is_open = ray.get(self._actors[shard].is_open.remote())

    def __reduce__(self) -> Any:
        return RayOutlet, (self._actors,)
