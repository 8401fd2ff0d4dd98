"""Transport: how calls reach shards; and InProcess, whose shards are objects of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, NoReturn, Protocol

from trifolium.distributed.messages import Piece
from trifolium.distributed.shard import Shard

__all__ = ["InProcess", "Outlet", "ShardLost", "Transport"]


class ShardLost(Exception):
    """A shard died before it answered. Another takes its place, so the next call may succeed."""


class Outlet(Protocol):
    """The way of a writer's steps to the shards. It can be pickled where shards are other processes."""

    def send(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Send steps; wait while too many are on their way. Steps for a shard that died are dropped."""
        ...

    def flush(self) -> None:
        """Wait until all that was sent is stored."""
        ...


class Transport(Protocol):
    """Calls of the methods of shards. Those that one process sends to one shard run in order."""

    def begin(self, shard: int, method: str, *args: Any) -> Any:
        """Begin a call, and return a handle for :meth:`wait`."""
        ...

    def wait(self, handle: Any) -> Any:
        """Return what the call returned, or raise :class:`ShardLost`, or what it raised."""
        ...

    def is_ready(self, handle: Any) -> bool:
        """Return whether :meth:`wait` would return at once."""
        ...

    def outlet(self) -> Outlet:
        """Return a new way for the steps of a writer."""
        ...

    def close(self) -> None:
        """End the shards."""
        ...


class InProcess:
    """Shards in this process: for tests, and for memories that need no other process yet.

    Args:
        options: of the Buffer of each shard, made anew for each call.
    """

    def __init__(self, options: Sequence[Callable[[], Mapping[str, Any]]]) -> None:
        self._options = options
        self._lock = Lock()
        self._shards: list[Shard | None] = [Shard(make()) for make in options]

    def begin(self, shard: int, method: str, *args: Any) -> Callable[[], Any]:
        """Make a call; see :class:`Transport`."""
        with self._lock:  # threads may write and draw at once
            target = self._shards[shard]
            if target is None:
                self._shards[shard] = Shard(self._options[shard]())
                return _lost
            found = getattr(target, method)(*args)
        return lambda: found

    def wait(self, handle: Callable[[], Any]) -> Any:
        """Return what the call returned."""
        return handle()

    def is_ready(self, handle: Callable[[], Any]) -> bool:  # noqa: ARG002
        """Return True: calls are done when they begin."""
        return True

    def outlet(self) -> InProcessOutlet:
        """Return a new way for the steps of a writer."""
        return InProcessOutlet(self)

    def kill(self, shard: int) -> None:
        """Lose a shard with all its rows: the next call fails, then an empty one takes its place."""
        self._shards[shard] = None

    def close(self) -> None:
        """Drop the shards."""
        self._shards = []


class InProcessOutlet:
    """The way of a writer's steps to shards of the same process; see :class:`Outlet`."""

    def __init__(self, transport: InProcess) -> None:
        self._transport = transport

    def send(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Store steps."""
        handle = self._transport.begin(shard, "write", pieces)
        if handle is not _lost:
            handle()

    def flush(self) -> None:
        """Do nothing: all that was sent is stored."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "this writer's shards are in its process, so it can't be pickled; "
            "expected a ShardedBuffer with address='local' or 'auto'"
        )


def _lost() -> NoReturn:
    raise ShardLost
