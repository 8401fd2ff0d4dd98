"""RayTransport: shards and workers as actors of Ray. The only module that imports Ray."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from trifolium.distributed.messages import Piece, Source
from trifolium.distributed.transport import ProcessLost

__all__ = ["Host", "RayOutlet", "RayTransport", "joined_cluster", "load_ray"]

PAUSE = 0.01  # seconds between two questions of a writer whether a shard takes more
INLINE_BYTES = 50_000  # of what makes an actor, up to which it is a part of the call
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
        raise ModuleNotFoundError(
            "shards and actors in other processes need Ray: pip install 'trifolium[ray]'; "
            "ShardedBuffer(address=None) keeps its shards in this process",
            name="ray",
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
    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **options)
    return True


class Host:
    """An actor of Ray: it makes an object, and calls its methods.

    Args:
        make: makes the object; again where Ray puts another actor in the place of one that died.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._object = make()

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the object."""
        return getattr(self._object, method)(*args)


class RayTransport:
    """Objects in actors of Ray; Ray puts another in the place of one that dies.

    They are spread over the machines of the cluster, and end with the process that made them.

    Args:
        makers: each makes an object.
        address: as for :class:`~trifolium.distributed.ShardedBuffer`.
        cores: that each reserves.
    """

    def __init__(self, makers: Sequence[Callable[[], Any]], *, address: str, cores: float = 0) -> None:
        self._ray = ray = load_ray()
        self._started = joined_cluster(address)
        kind = ray.remote(Host).options(
            num_cpus=cores, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        # large ones lie in Ray's store; kept here, so that they are there when it starts an actor again
        self._makers = [
            make if len(ray.cloudpickle.dumps(make)) < INLINE_BYTES else ray.put(make)
            for make in makers
        ]
        self.actors = [kind.remote(make) for make in self._makers]
        self._lost = _lost_errors(ray)

    def begin(self, number: int, method: str, *args: Any) -> Any:
        """Begin a call; see :class:`~trifolium.distributed.transport.Transport`."""
        return self.actors[number].call.remote(method, *args)

    def wait(self, handle: Any) -> Any:
        """Return what the call returned, or raise ProcessLost."""
        try:
            return self._ray.get(handle)
        except self._lost as error:
            raise ProcessLost(str(error)) from error

    def are_ready(self, handles: Sequence[Any]) -> list[bool]:
        """Return which of the calls have ended."""
        if not handles:
            return []
        ended, _ = self._ray.wait(list(handles), num_returns=len(handles), timeout=0)
        found = set(ended)
        return [handle in found for handle in handles]

    def share(self, value: Any) -> Any:
        """Return a reference to ``value`` in Ray's store."""
        return self._ray.put(value)

    def others(self, makers: Sequence[Callable[[], Any]], cores: float) -> RayTransport:
        """Return other objects on the same cluster."""
        return RayTransport(makers, address="auto", cores=cores)

    def outlet(self) -> RayOutlet:
        """Return a new way for the steps of a writer."""
        return RayOutlet(self.actors)

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
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
        self._writer, self._calls = uuid4().hex, [0] * len(actors)

    def send(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Send steps; wait while ``MOST_CALLS`` calls are on their way."""
        sent = self._sent[shard]
        while len(sent) >= MOST_CALLS:
            self._end(shard, sent.popleft())
        source = Source(self._writer, self._calls[shard])
        self._calls[shard] += 1
        sent.append(self._actors[shard].call.remote("write", pieces, source))

    def is_free(self) -> bool:
        """Return whether no call is on its way: a call takes long, so it should bring many steps."""
        ray = load_ray()
        calls = [handle for sent in self._sent for handle in sent]
        ended = set(ray.wait(calls, num_returns=len(calls), timeout=0)[0]) if calls else set()
        for shard, sent in enumerate(self._sent):
            while sent and sent[0] in ended:
                self._end(shard, sent.popleft())
        return not any(self._sent)

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
        with suppress(*_lost_errors(ray)):
            is_open = ray.get(handle)
            while not is_open:
                time.sleep(PAUSE)
                is_open = ray.get(self._actors[shard].call.remote("is_open"))

    def __reduce__(self) -> Any:
        return RayOutlet, (self._actors,)


def _lost_errors(ray: Any) -> tuple[type[Exception], ...]:
    """Return what Ray raises where an actor died, or where what it returned died with its machine."""
    errors = ray.exceptions
    return errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError, errors.NodeDiedError
