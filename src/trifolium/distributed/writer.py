"""Writer: sends the steps of some streams to their shards, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from trifolium import _checks as checks
from trifolium.distributed.messages import Piece
from trifolium.distributed.transport import Outlet
from trifolium.replay.rules.steps import Chunk, StepFields, on_host
from trifolium.replay.schema import BufferSpec

__all__ = ["Route", "Writer"]

MOST_BYTES = 1 << 20  # of observations that are collected while earlier ones are on their way


class Route(NamedTuple):
    """Where some streams of a writer are stored.

    Attributes:
        shard: which shard.
        own: [N] int64, the writer's streams.
        there: [N] int64, the same as the shard numbers them.
    """

    shard: int
    own: np.ndarray
    there: np.ndarray


class _Unsent(NamedTuple):
    """Chunks of steps of some of the writer's streams, or an end of episodes; see :class:`Piece`."""

    streams: np.ndarray
    chunks: list[Chunk] | None
    blank: bool = False


class Writer:
    """Adds steps to some streams of a :class:`ShardedBuffer`, from any process of the cluster.

    ``memory.writer(streams=16)`` returns one. It collects steps, and sends them when they are many, or
    when :meth:`flush` is called. While earlier ones are on their way it collects more, up to a MiB;
    then it waits. Pass it to an actor or a task of Ray: it can be pickled.

    Args:
        spec: of the writer's streams.
        routes: where each stream is stored.
        outlet: the way there.
        chunk: steps that are collected, at least, before they are sent.

    >>> from trifolium.distributed import ShardedBuffer
    >>> with ShardedBuffer(100, (2,), shards=2, n_streams=4, address=None) as memory:
    ...     writer = memory.writer(streams=2)
    ...     writer.add([[0.0, 1.0], [2.0, 3.0]], [0, 1], [1.0, 1.0], [False, True])
    ...     writer.flush()
    ...     len(memory)
    2
    """

    def __init__(
        self, spec: BufferSpec, routes: Sequence[Route], outlet: Outlet, chunk: int = 256
    ) -> None:
        self.spec = spec
        self._routes, self._outlet = tuple(routes), outlet
        self._places = []  # of each route: [n_streams], numbers in the shard, -1 for those elsewhere
        for route in self._routes:
            there = np.full(spec.n_streams, -1)
            there[route.own] = route.there
            self._places.append(there)
        self._chunk = checks.integer("chunk", chunk, 1)
        row = sum(field.nbytes for field in spec.columns)
        self._most = max(self._chunk, MOST_BYTES // max(row, 1))
        self._fields = StepFields(spec)
        self._pieces: list[_Unsent] = []
        self._newest = [-1] * spec.n_streams  # of each stream: its last piece
        self._waiting = 0

    @property
    def n_streams(self) -> int:
        """Streams that it writes."""
        return self.spec.n_streams

    def add(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        *,
        truncated: Any = False,
        next_obs: Any = None,
        stream: int | None = None,
        where: Any = None,
        **extras: Any,
    ) -> None:
        """Store one step of every stream of this writer, or of one; as :meth:`trifolium.Buffer.add`.

        Raises:
            ValueError, TypeError: an argument has the wrong shape, dtype or name; nothing is stored.
        """
        steps = (obs, action, reward, done, truncated, next_obs, extras)
        streams, chunk = self._checked(stream, *steps)
        if len(chunk.terminated) != 1:
            raise ValueError(
                f"obs holds {len(chunk.terminated)} steps; expected one of each stream, or extend()"
            )
        if where is not None:
            if stream is not None:
                raise TypeError("where and stream were both given; expected one of them")
            taken = checks.flags("where", where, self.n_streams)
            streams, chunk = streams[taken], _of_streams(chunk, np.flatnonzero(taken))
        self._keep(streams, chunk)

    def extend(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        *,
        truncated: Any = False,
        next_obs: Any = None,
        stream: int | None = None,
        **extras: Any,
    ) -> None:
        """Store T steps of every stream of this writer, or of one; as :meth:`trifolium.Buffer.extend`.

        Raises:
            ValueError, TypeError: an argument has the wrong shape, dtype or name; nothing is stored.
        """
        steps = (obs, action, reward, done, truncated, next_obs, extras)
        self._keep(*self._checked(stream, *steps))

    def end_episode(self, stream: int | None = None) -> None:
        """End the episodes that are open, as :meth:`trifolium.Buffer.end_episode`."""
        self._append(_Unsent(self._streams(stream), None))

    def add_empty(self, stream: int | None = None) -> None:
        """End the episodes, and write rows of zeros, as :meth:`trifolium.Buffer.add_empty`."""
        self._append(_Unsent(self._streams(stream), None, True))

    def flush(self, *, wait: bool = True) -> None:
        """Send the steps that were collected.

        Args:
            wait: whether to wait until they are stored.
        """
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        self._newest = [-1] * self.n_streams
        wholes = [each._replace(chunks=_whole(each.chunks)) for each in pieces]
        for route, there in zip(self._routes, self._places, strict=True):
            found = [piece for each in wholes if (piece := _routed(there, each)) is not None]
            if found:
                self._outlet.send(route.shard, found)
        if wait:
            self._outlet.flush()

    @property
    def has_pieces(self) -> bool:
        """Whether there are steps, or ends of episodes, that were not sent yet."""
        return bool(self._pieces)

    # Helpers

    def _streams(self, stream: int | None) -> np.ndarray:
        if stream is None:
            return np.arange(self.n_streams)
        found = checks.integer("stream", stream, 0)
        if found >= self.n_streams:
            raise ValueError(
                f"stream={found} does not exist; expected 0 to {self.n_streams - 1}: this writer has "
                f"{self.n_streams} streams"
            )
        return np.array([found])

    def _checked(
        self,
        stream: int | None,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        truncated: Any,
        next_obs: Any,
        extras: dict[str, Any],
    ) -> tuple[np.ndarray, Chunk]:
        streams = self._streams(stream)
        chunk = self._fields.chunk(
            on_host,
            len(streams),
            np,
            obs=obs,
            action=action,
            reward=reward,
            done=done,
            truncated=truncated,
            next_obs=next_obs,
            where=None,
            extras=extras,
        )
        return streams, chunk

    def _keep(self, streams: np.ndarray, chunk: Chunk) -> None:
        if not chunk.terminated.size:
            return
        last = self._continued(streams, chunk)
        if last is None:
            self._append(_Unsent(streams, [_mapped(np.array, chunk)]))
        else:
            last.append(_mapped(np.array, chunk))
        self._waiting += chunk.terminated.size
        if self._waiting >= self._chunk and (self._waiting >= self._most or self._outlet.is_free()):
            self.flush(wait=False)

    def _append(self, unsent: _Unsent) -> None:
        for stream in unsent.streams.tolist():
            self._newest[stream] = len(self._pieces)
        self._pieces.append(unsent)

    def _continued(self, streams: np.ndarray, chunk: Chunk) -> list[Chunk] | None:
        """Return the newest chunks of these streams, if these steps can follow in the same piece."""
        newest = {self._newest[stream] for stream in streams.tolist()}
        if len(newest) != 1 or newest == {-1}:
            return None
        last = self._pieces[newest.pop()]
        if last.chunks is None or len(last.streams) != len(streams):
            return None
        same = (last.chunks[0].following is None) == (chunk.following is None)
        return last.chunks if same else None


def _whole(chunks: list[Chunk] | None) -> list[Chunk] | None:
    """Return some chunks, one after another, as one."""
    if chunks is None or len(chunks) == 1:
        return chunks
    return [_mapped(lambda *parts: np.concatenate(parts), *chunks)]


def _routed(there: np.ndarray, unsent: _Unsent) -> Piece | None:
    """Return the part of some steps that belongs to a shard; None if there is none.

    Args:
        there: [n_streams], the streams as the shard numbers them; -1 for those elsewhere.
        unsent: the steps, in one chunk.
    """
    theirs = there[unsent.streams]
    places = np.flatnonzero(theirs >= 0)
    if not len(places):
        return None
    if unsent.chunks is None:
        return Piece(theirs[places], None, unsent.blank)
    (chunk,) = unsent.chunks
    return Piece(theirs[places], chunk if len(places) == len(theirs) else _of_streams(chunk, places))


def _of_streams(chunk: Chunk, places: np.ndarray) -> Chunk:
    """Return the steps of the streams at these places alone."""
    n_steps, n_streams = chunk.terminated.shape

    def part(array: np.ndarray) -> np.ndarray:
        lead = array.shape[:2] if array is chunk.terminated or array is chunk.truncated else None
        if lead is not None:
            return array[:, places]
        several = array.reshape(n_steps, n_streams, *array.shape[1:])[:, places]
        return several.reshape(-1, *array.shape[1:])

    return _mapped(part, chunk)


def _mapped(function: Callable[..., Any], *chunks: Chunk) -> Chunk:
    """Return a chunk whose arrays are ``function`` of those of ``chunks``, one after another."""

    def named(parts: list[Any]) -> dict[str, Any]:
        return {name: function(*(part[name] for part in parts)) for name in parts[0]}

    first = chunks[0]
    return Chunk(
        columns=named([each.columns for each in chunks]),
        actions=function(*(each.actions for each in chunks)),
        rewards=function(*(each.rewards for each in chunks)),
        terminated=function(*(each.terminated for each in chunks)),
        truncated=function(*(each.truncated for each in chunks)),
        following=None if first.following is None else named([each.following for each in chunks]),
    )
