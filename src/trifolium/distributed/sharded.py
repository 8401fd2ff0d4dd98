"""ShardedBuffer: a replay memory in several shards, in other processes or in this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Self

import numpy as np

from trifolium import _checks as checks
from trifolium.array import ArrayT
from trifolium.backend import AnyArray, Backend, Params, get_backend
from trifolium.distributed import checkpoint
from trifolium.distributed.draws import HostBatch, ShardedDraws
from trifolium.distributed.group import ShardGroup
from trifolium.distributed.indices import unpacked
from trifolium.distributed.layout import ShardLayout
from trifolium.distributed.limiter import SamplesPerInsert
from trifolium.distributed.pacing import PacedDraws
from trifolium.distributed.packing import NativeBatches
from trifolium.distributed.shard import Shard
from trifolium.distributed.transport import InProcess, ProcessLost, Transport
from trifolium.distributed.writer import Route, Writer
from trifolium.replay import Batch, Prioritized, Sampler, Uniform
from trifolium.replay.buffer import Minibatches
from trifolium.replay.rules.assemble import Packed, Plan, assemble
from trifolium.replay.rules.priorities import checked_priorities, raw_priority
from trifolium.replay.schema import BufferSpec, nested

__all__ = ["ShardedBuffer"]


class ShardedBuffer(Generic[ArrayT]):
    """A replay memory in several shards, with the draws of one :class:`~trifolium.Buffer`.

    Each shard holds whole streams. Writers in any process add steps, see :meth:`writer`; one process,
    the learner's, draws. It implements :class:`~trifolium.ReplayMemory`, so models take it as
    ``memory=``. Rows of a minibatch are ordered by shard.

    If a shard dies, draws go on from the others with one warning, and another takes its place: empty,
    or with the rows of the last :meth:`save`.

    Args:
        capacity: rows held by all shards together.
        obs_shape: as for Buffer, like every option that is not listed here.
        n_frames: as for Buffer.
        shards: how many; at most one for each stream.
        address: where shards are. "auto" joins the Ray cluster that this process can reach, "local"
            starts Ray on this machine, None keeps them in this process, without Ray. Other values are
            addresses of Ray's.
        backend: of the batches. Shards are on NumPy.
        device: of the batches.
        seed: of the generators that draw; None for a random one.
        obs_dtype, action_shape, action_dtype, extras: as for Buffer.
        n_streams, n_step, gamma, boundary: as for Buffer.
        samples_per_insert: how many rows are drawn for each step that writers store, a number or a
            :class:`~trifolium.distributed.SamplesPerInsert`: then draws wait for writers, and writers
            for draws. None for no limit. It has no effect where this process adds all steps.
        sampler: ``Uniform(...)`` or ``Prioritized(...)``.
        prefetch: minibatches of single rows that :meth:`sample` and :meth:`draw` have drawn in advance,
            several in each call of a shard, about a MiB of them. A learner of small rows is then not
            bound by calls, and learns from rows that were drawn up to so many minibatches ago. With 0,
            the default, each is drawn when it is asked for.
        transport: returns another way to reach the shards, which it is given makers of, in place
            of ``address``.

    Attributes:
        backend, spec, sampler, rng: as of Buffer.
        prefetch: as given.
        transport: how calls reach the shards.

    Raises:
        ValueError, TypeError: an argument is wrong; the message names it.
        ImportError: Ray is not installed and ``address`` is not None.

    >>> import numpy as np
    >>> with ShardedBuffer(100, (2,), shards=2, n_streams=2, seed=0, address=None) as memory:
    ...     obs, zeros = np.zeros((10, 2, 2)), np.zeros((10, 2), int)
    ...     memory.extend(obs, zeros, zeros, zeros)
    ...     memory.drawable, memory.sample(4).states.shape
    (18, (4, 2))
    """

    def __init__(
        self,
        capacity: int,
        obs_shape: int | Sequence[int] | Mapping[str, Any],
        n_frames: int | Mapping[str, int] = 1,
        *,
        shards: int = 1,
        address: str | None = "auto",
        backend: str | Backend[ArrayT] = "numpy",
        device: Any = None,
        seed: int | None = None,
        obs_dtype: Any = "float32",
        action_shape: int | Sequence[int] = (),
        action_dtype: Any = None,
        extras: Mapping[str, Any] | None = None,
        n_streams: int = 1,
        n_step: int = 1,
        gamma: float = 0.99,
        boundary: str = "mask",
        sampler: Sampler | None = None,
        samples_per_insert: float | SamplesPerInsert | None = None,
        prefetch: int = 0,
        transport: Callable[[Sequence[Callable[[], Shard]]], Transport] | None = None,
    ) -> None:
        self.backend = get_backend(backend, device=device)
        self.spec = BufferSpec.checked(
            self.backend,
            capacity=capacity,
            obs_shape=obs_shape,
            n_frames=n_frames,
            obs_dtype=obs_dtype,
            action_shape=action_shape,
            action_dtype=action_dtype,
            extras=extras,
            n_streams=n_streams,
            n_step=n_step,
            gamma=gamma,
            boundary=boundary,
        )
        self.sampler = Uniform() if sampler is None else sampler
        self._layout = layout = ShardLayout(self.spec, shards, self.sampler, seed)
        self.rng = np.random.Generator(np.random.Philox(layout.seeds[0]))
        makers = [partial(_made, layout, shard) for shard in range(layout.shards)]
        self.transport = (transport or _transport_to(address))(makers)
        self._group = ShardGroup(self.transport, layout.seeds[1:])
        self._draws = ShardedDraws(self._group, self.spec, self.sampler, self.rng)
        self._native = NativeBatches(self.backend, self.spec)
        self._claimed = np.zeros(self.spec.n_streams, bool)
        self._own: Writer | None = None
        self._saves = 0
        if samples_per_insert is not None and not isinstance(samples_per_insert, SamplesPerInsert):
            samples_per_insert = SamplesPerInsert(samples_per_insert)
        row = sum(field.nbytes for field in self.spec.columns) * (self.spec.n_frames + 1)
        draws = self._draws, self._group, samples_per_insert
        self.prefetch = checks.integer("prefetch", prefetch, 0)
        self._paced = PacedDraws(*draws, self._send_own, row, self.prefetch)

    # Writing

    def writer(self, streams: int | Sequence[int] = 1, *, chunk: int = 256) -> Writer:
        """Return a writer of some streams, which no other writer may have.

        Args:
            streams: how many streams, of those that are free; or their numbers.
            chunk: steps that it collects before it sends them.

        Raises:
            ValueError: so many streams are not free; the message says how many are.

        >>> with ShardedBuffer(100, (2,), shards=2, n_streams=4, address=None) as memory:
        ...     memory.writer(streams=3).n_streams
        3
        """
        which = self._free_streams(streams)
        writer = self._writer_of(which, chunk)
        self._claimed[which] = True
        return writer

    def add(self, *steps: Any, **options: Any) -> None:
        """Store a step of every stream, or of one, as :meth:`trifolium.Buffer.add`.

        It is sent with the next draw, or when there are many. Other processes need a :meth:`writer`.

        Raises:
            ValueError: writers have some of the streams.
        """
        self._writer_of_all().add(*steps, **options)
        self._paced.forget()

    def extend(self, *steps: Any, **options: Any) -> None:
        """Store many steps, as :meth:`trifolium.Buffer.extend`; see :meth:`add`."""
        self._writer_of_all().extend(*steps, **options)
        self._paced.forget()

    def end_episode(self, stream: int | None = None) -> None:
        """End the episodes that are open, as :meth:`trifolium.Buffer.end_episode`; see :meth:`add`."""
        self._writer_of_all().end_episode(stream)
        self._paced.forget()

    def add_empty(self, stream: int | None = None) -> None:
        """End the episodes, and write rows of zeros, as :meth:`trifolium.Buffer.add_empty`."""
        self._writer_of_all().add_empty(stream)
        self._paced.forget()

    def update_priorities(self, indices: Any, td: Any) -> None:
        """Report the temporal-difference errors of rows, as :meth:`trifolium.Buffer.update_priorities`.

        They are sent with the next draw. Rows that were overwritten since, or whose shard died, are
        skipped.
        """
        if not isinstance(self.sampler, Prioritized):
            raise TypeError("update_priorities: this memory draws uniformly; give it Prioritized()")
        which, priorities = checked_priorities(indices, td)
        if len(which):
            self._send_own()
            largest = float(raw_priority(priorities.max(), self.sampler.epsilon))
            self._group.keep_updates(which, priorities, largest)
            self._paced.forget()

    # Sampling

    def sample(self, batch_size: int, *, flatten: bool = True) -> Batch[ArrayT]:
        """Draw a minibatch, as :meth:`trifolium.Buffer.sample`."""
        return self._batch(self._paced.one(checks.integer("batch_size", batch_size, 1)), flatten)

    def sample_sequences(
        self, batch_size: int, length: int, *, within_episode: bool = False, flatten: bool = True
    ) -> Batch[ArrayT]:
        """Draw runs of consecutive rows, as :meth:`trifolium.Buffer.sample_sequences`."""
        length = checks.integer("length", length, 1)
        is_within = checks.flag("within_episode", within_episode)
        batch_size = checks.integer("batch_size", batch_size, 1)
        drawn = self._paced.one(batch_size, length, "episode" if is_within else "")
        xp = self.backend.xp

        def timed(array: AnyArray) -> AnyArray:
            return xp.reshape(array, (batch_size, length, *array.shape[1:]))

        return self._batch(drawn, flatten).each(timed)

    def fetch(self, indices: Any, *, flatten: bool = True) -> Batch[ArrayT]:
        """Return the rows with these indices, as :meth:`trifolium.Buffer.fetch`.

        Raises:
            IndexError: rows are not stored, or their shard died since; the message has the first.
        """
        which = checks.vector("indices", indices, "int64")
        self._refresh()
        shards, incarnations, rows = unpacked(which)
        stored = self._group.is_current(shards, incarnations)
        found: Packed | np.ndarray = stored
        if stored.all():
            found = self._draws.fetch(shards, rows)
        if isinstance(found, np.ndarray):
            missing = which[~found]
            raise IndexError(
                f"indices holds {len(missing)} rows that are not stored, such as {missing[0]}; "
                "expected indices of batches whose rows were not overwritten or lost since"
            )
        return self._batch(HostBatch(found, which), flatten)

    def as_dataset(
        self,
        batch_size: int,
        n_batches: int | None = None,
        *,
        prefetch: int = 0,
        flatten: bool = True,
    ) -> ShardedMinibatches[ArrayT]:
        """Return an iterable of minibatches, as :meth:`trifolium.Buffer.as_dataset`.

        Args:
            batch_size: rows of each.
            n_batches: how many there are; None for no end.
            prefetch: how many may be drawn before they are asked for: several in each call of a shard,
                about a MiB of them, while others are used. 0 draws each when it is asked for.
            flatten: as in :meth:`sample`.
        """
        batch_size = checks.integer("batch_size", batch_size, 1)
        prefetch = checks.integer("prefetch", prefetch, 0)
        if n_batches is not None:
            n_batches = checks.integer("n_batches", n_batches, 1)

        def batches() -> Iterator[Batch[ArrayT]]:
            for drawn in self._paced.ahead(batch_size, n_batches, prefetch):
                yield self._batch(drawn, flatten)

        return ShardedMinibatches(batches)

    def draw(self, batch_size: int) -> tuple[Params, Plan | Packed, np.ndarray]:
        """Draw a minibatch for a compiled function, as :meth:`trifolium.Buffer.draw`."""
        packed, indices = self._paced.one(checks.integer("batch_size", batch_size, 1))
        return {}, packed, indices

    def assembler(self, *, flatten: bool = True) -> Callable[[Params, Plan | Packed], Batch[ArrayT]]:
        """Return the function from what :meth:`draw` returned to a batch."""
        backend, spec = self.backend, self.spec

        def batch_of(columns: Params, plan: Plan | Packed) -> Batch[ArrayT]:
            return assemble(backend, spec, columns, plan, flatten=flatten)

        return batch_of

    # Reading

    def current_state(self, stream: int = 0) -> ArrayT:
        """Return the frames before the newest observation, as :meth:`trifolium.Buffer.current_state`.

        It is one call of the stream's shard, after the steps that were added in this process.
        """
        frames = self._ask_of_stream("recent", stream)
        return nested(self.spec.leaves, [self.backend.from_numpy(np.array(each)) for each in frames])

    def last_transition(self, offset: int = 0, stream: int = 0) -> tuple[Any, float, bool] | None:
        """Return (action, reward, done), as :meth:`trifolium.Buffer.last_transition`; one call."""
        offset = checks.integer("offset", offset, 0)
        found: tuple[Any, float, bool] | None = self._ask_of_stream("last_transition", stream, offset)
        return found

    @property
    def drawable(self) -> int:
        """Rows that can be drawn now, valid or not.

        With ``prefetch`` these are the rows at the last draw, while minibatches are on their way.
        """
        if not self._paced.has_coming:
            self._refresh()
        return sum(status.drawable for status in self._group.statuses if status)

    def may_draw(self, batch_size: int) -> bool:
        """Return whether a draw would succeed at once: there are enough rows, and no limit is reached.

        A learner that also collects from :class:`~trifolium.distributed.Actors` asks this first, so
        that it never waits for steps that only come when it collects.
        """
        rows = checks.integer("batch_size", batch_size, 1)
        return self.drawable >= rows and self._paced.may_draw(rows)

    def __len__(self) -> int:
        """Rows stored by all shards; blank and boundary rows count."""
        self._refresh()
        return sum(status.rows for status in self._group.statuses if status)

    @property
    def n_streams(self) -> int:
        """Streams of all shards together."""
        return self.spec.n_streams

    @property
    def shards(self) -> int:
        """Shards of the memory."""
        return self._layout.shards

    @property
    def drawn(self) -> int:
        """Rows that were drawn so far."""
        return self._paced.drawn

    @property
    def limiter(self) -> SamplesPerInsert | None:
        """The limit of rows drawn for each step stored, if there is one."""
        return self._paced.limiter

    @property
    def steps(self) -> int:
        """Steps that were ever stored, those that are overwritten or lost included."""
        self._refresh()
        return self._group.steps

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.spec.capacity}, {self.spec.obs_shape}, shards={self.shards}, "
            f"n_streams={self.n_streams}, backend={self.backend.name!r})"
        )

    # Files and the end

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all rows to a folder: each shard writes its own file, and a manifest comes last.

        With shards on several machines, all of them must see the folder. A shard that dies later comes
        back with these rows. An earlier save in the folder is replaced.

        Raises:
            ConnectionError: a shard died meanwhile; an earlier save in the folder still holds.
        """
        self._refresh()
        self._saves += 1
        manifest = {
            "spec": self.spec.options(),
            "shards": self.shards,
            "backend": self.backend.name,
            "sampler": type(self.sampler).__name__,
            "sampler_options": getattr(self.sampler, "options", {}),
            "drawn": self.drawn,
        }
        checkpoint.save(path, self._group, manifest, self.rng, self.sampler, self._saves)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        address: str | None = "auto",
        backend: str | Backend | None = None,
        device: Any = None,
        transport: Callable[[Sequence[Callable[[], Shard]]], Transport] | None = None,
    ) -> Self:
        """Return the memory saved in a folder; it draws what the saved one would have drawn next.

        Writers must be made anew.

        Args:
            path: the folder.
            address: as for the constructor.
            backend: another backend than it was saved from; None for the same.
            device: as for the constructor.
            transport: as for the constructor.

        Raises:
            CheckpointError: the folder holds no such memory, or a damaged one.
            FileNotFoundError: there is no such folder.
        """
        saved = checkpoint.read(path)
        chosen = get_backend(saved.backend if backend is None else backend, device=device)
        options = saved.options(chosen)
        memory = cls(**options, address=address, backend=chosen, transport=transport)
        try:
            memory._paced.drawn = saved.drawn
            memory._saves = saved.restore(memory._group, memory.rng, memory.sampler)
        except BaseException:
            memory.close()
            raise
        return memory

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Replace all rows, priorities and generators by those that a memory of this kind saved.

        Args:
            path: the folder.

        Raises:
            CheckpointError: the folder holds no such memory, or one with other options.
            FileNotFoundError: there is no such folder.
        """
        saved = checkpoint.read(path)
        saved.check_options(self.spec, self.shards, self.sampler)
        self._refresh()
        self._paced.drawn = saved.drawn
        self._saves = saved.restore(self._group, self.rng, self.sampler)
        self._paced.restart()

    def close(self) -> None:
        """End the shards, and Ray if this memory started it. Rows that were not saved are gone."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Helpers

    def _free_streams(self, streams: int | Sequence[int]) -> np.ndarray:
        free = np.flatnonzero(~self._claimed)
        if not isinstance(streams, Sequence):
            count = checks.integer("streams", streams, 1)
            if count > len(free):
                raise ValueError(
                    f"streams={count}, but {len(free)} of n_streams={self.n_streams} are free; "
                    "expected at most so many, or a larger n_streams"
                )
            return free[:count]
        which = np.unique(checks.vector("streams", streams, "int64"))
        taken = np.setdiff1d(which, free)
        if len(taken) or not len(which):
            raise ValueError(
                f"streams={streams!r:.80}: {taken.tolist() or 'none'} are not free; expected streams "
                f"from 0 to {self.n_streams - 1} that no writer has"
            )
        return which

    def _writer_of(self, which: np.ndarray, chunk: int) -> Writer:
        shards, local = self._layout.place(which)
        routes = [
            Route(shard, np.flatnonzero(shards == shard), local[shards == shard])
            for shard in np.unique(shards).tolist()
        ]
        return Writer(self._layout.part(len(which)), routes, self.transport.outlet(), chunk)

    def _writer_of_all(self) -> Writer:
        if self._own is None:
            self._own = self.writer(self.n_streams, chunk=4096)
            self._paced.limiter = None
        return self._own

    def _send_own(self) -> None:
        """Send the steps that were added here, after the priorities that were given before them."""
        if self._own is not None and self._own.has_pieces:
            self._group.send_updates()
            self._own.flush(wait=False)

    def _refresh(self) -> None:
        self._paced.refresh()

    def _ask_of_stream(self, method: str, stream: int, *args: Any) -> Any:
        number = checks.integer("stream", stream, 0)
        if number >= self.n_streams:
            raise ValueError(f"stream={stream} does not exist; expected 0 to {self.n_streams - 1}")
        self._send_own()
        (shard,), (local,) = self._layout.place(np.array([number]))
        try:
            return self._group.ask(int(shard), method, *args, int(local))
        except ProcessLost:
            raise ConnectionError(
                f"the shard of stream={stream} died, with its rows; expected end_episode({stream}), "
                "and the frames of the next one"
            ) from None

    def _batch(self, drawn: HostBatch, flatten: bool) -> Batch[ArrayT]:
        batch = self._native(drawn.packed, flatten)
        batch.indices = drawn.indices
        return batch


class ShardedMinibatches(Minibatches[ArrayT]):
    """The iterable that :meth:`ShardedBuffer.as_dataset` returns, for the process that made it."""

    def __init__(self, batches: Callable[[], Iterator[Batch[ArrayT]]]) -> None:
        self._batches = batches
        self._process = os.getpid()

    def __iter__(self) -> Iterator[Batch[ArrayT]]:
        if os.getpid() != self._process:
            raise RuntimeError(
                "a worker process iterates over batches of a ShardedBuffer, from which one process "
                "draws; expected num_workers=0"
            )
        return self._batches()


def _made(layout: ShardLayout, shard: int) -> Shard:
    return Shard(layout.options(shard))


def _transport_to(address: str | None) -> Callable[[Sequence[Callable[[], Shard]]], Transport]:
    if address is None:
        return InProcess
    from trifolium.distributed.cluster import RayTransport  # loads Ray

    return partial(RayTransport, address=address)
