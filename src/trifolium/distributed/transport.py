"""Transport: how calls reach objects in other processes; and InProcess, whose objects are here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NoReturn, Protocol

from trifolium.distributed.messages import Piece

__all__ = ["InProcess", "Outlet", "ProcessLost", "Transport"]


class ProcessLost(Exception):
    """A process died before it answered. Another takes its place, so the next call may succeed."""


class Outlet(Protocol):
    """The way of a writer's steps to the shards. It can be pickled where shards are other processes."""

    def send(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Send steps; wait while too many are on their way. Steps for a shard that died are dropped."""
        ...

    def is_free(self) -> bool:
        """Return whether nothing is on its way, so that waiting for more steps gains nothing."""
        ...

    def flush(self) -> None:
        """Wait until all that was sent is stored."""
        ...


class Transport(Protocol):
    """Calls of the methods of objects, such as shards, each in a process of its own.

    Those that one process sends to one object run in order.
    """

    def begin(self, number: int, method: str, *args: Any) -> Any:
        """Begin a call of an object's method, and return a handle for :meth:`wait`."""
        ...

    def wait(self, handle: Any) -> Any:
        """Return what the call returned, or raise :class:`ProcessLost`, or what it raised."""
        ...

    def are_ready(self, handles: Sequence[Any]) -> list[bool]:
        """Return for which of the calls :meth:`wait` would return at once."""
        ...

    def share(self, value: Any) -> Any:
        """Return what to pass to several calls in place of ``value``, so that it is sent once."""
        ...

    def outlet(self) -> Outlet:
        """Return a new way for the steps of a writer to the objects, which are shards."""
        ...

    def others(self, makers: Sequence[Callable[[], Any]], cores: float) -> Transport:
        """Return a way to other objects, made by ``makers``, each of which needs so many cores."""
        ...

    def close(self) -> None:
        """End the objects and their processes."""
        ...


class InProcess:
    """Objects in this process: for tests, and where no other process is needed yet.

    Args:
        makers: each makes an object, and another in its place after :meth:`kill`.
    """

    def __init__(self, makers: Sequence[Callable[[], Any]]) -> None:
        self._makers = makers
        self._lock = Lock()
        self._objects: list[Any] = [make() for make in makers]

    def begin(self, number: int, method: str, *args: Any) -> Callable[[], Any]:
        """Make a call; see :class:`Transport`."""
        with self._lock:  # threads may write and draw at once
            target = self._objects[number]
            if target is None:
                self._objects[number] = self._makers[number]()
                return _lost
            found = getattr(target, method)(*args)
        return lambda: found

    def wait(self, handle: Callable[[], Any]) -> Any:
        """Return what the call returned."""
        return handle()

    def are_ready(self, handles: Sequence[Callable[[], Any]]) -> list[bool]:
        """Return True for each: calls are done when they begin."""
        return [True] * len(handles)

    def share(self, value: Any) -> Any:
        """Return ``value``."""
        return value

    def outlet(self) -> InProcessOutlet:
        """Return a new way for the steps of a writer."""
        return InProcessOutlet(self)

    def others(self, makers: Sequence[Callable[[], Any]], cores: float) -> InProcess:  # noqa: ARG002
        """Return other objects in this process."""
        return InProcess(makers)

    def kill(self, number: int) -> None:
        """Lose an object: the next call fails, then a new one takes its place."""
        self._objects[number] = None

    def close(self) -> None:
        """Drop the objects."""
        self._objects = []


class InProcessOutlet:
    """The way of a writer's steps to shards of the same process; see :class:`Outlet`."""

    def __init__(self, transport: InProcess) -> None:
        self._transport = transport

    def send(self, shard: int, pieces: Sequence[Piece]) -> None:
        """Store steps."""
        handle = self._transport.begin(shard, "write", pieces)
        if handle is not _lost:
            handle()

    def is_free(self) -> bool:
        """Return True: steps are stored when they are sent."""
        return True

    def flush(self) -> None:
        """Do nothing: all that was sent is stored."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "this writer's shards are in its process, so it can't be pickled; "
            "expected a ShardedBuffer with address='local' or 'auto'"
        )


def _lost() -> NoReturn:
    raise ProcessLost
