"""Buffer: the replay memory."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import Any, Generic, Self

import numpy as np

from trifolium import _checks as checks
from trifolium import files
from trifolium._options import NamedOptions
from trifolium.array import ArrayT
from trifolium.backend import AnyArray, Backend, Params, as_numpy, get_backend
from trifolium.replay.batch import Batch, map_tree
from trifolium.replay.graph.state import State
from trifolium.replay.host.ahead import Ahead, CopiesBatches
from trifolium.replay.host.columns import HostColumns
from trifolium.replay.host.hindsight import Hindsight
from trifolium.replay.host.locks import holding
from trifolium.replay.host.samplers import (
    Accept,
    Draw,
    Sampler,
    SequenceSampler,
    Uniform,
    draw_accepted,
    draw_runs,
)
from trifolium.replay.host.store import Store
from trifolium.replay.io import convert, file
from trifolium.replay.io.folder import BufferFolder
from trifolium.replay.io.mapped import MappedStore
from trifolium.replay.io.recordings import (
    EpisodeSource,
    episodes,
    found_options,
    recorded,
    space_options,
)
from trifolium.replay.rules.assemble import Packed, Plan, assemble
from trifolium.replay.rules.marks import BLANK, TERMINATED
from trifolium.replay.rules.priorities import checked_priorities
from trifolium.replay.rules.steps import StepFields, on_host
from trifolium.replay.schema import BufferSpec, nested

__all__ = ["Buffer", "Minibatches"]

_NOTHING = nullcontext()
_OTHER_NAMES = {  # names of the same option in other libraries
    "buffer_size": "capacity",
    "discount": "gamma",
    "frame_stack": "n_frames",
    "max_size": "capacity",
    "memory_size": "capacity",
    "multi_step": "n_step",
    "n_envs": "n_streams",
    "n_steps": "n_step",
    "num_envs": "n_streams",
    "observation_shape": "obs_shape",
    "stack_num": "n_frames",
    "state_shape": "obs_shape",
    "update_horizon": "n_step",
}
PART = 65_536  # steps of a data set that are stored in one call


class Buffer(NamedOptions, Generic[ArrayT]):
    """A replay memory: a ring of transitions that returns minibatches of the backend's own arrays.

    Each observation is stored once: the successor of a step is the row after it. One host generator
    draws every row, so one seed gives the same minibatches, bit for bit, on every backend.

    Threads may call all methods at once, those that add and those that draw: each call is done as a
    whole, so every row that comes out is one that went in, and no step is lost. One seed gives the same
    minibatches only if the calls come in the same order. No thread may change a buffer while it is
    pickled. docs/reference/buffer.md says more.

    ``memory: Buffer[torch.Tensor] = Buffer(...)`` tells type checkers and editors what the arrays are.
    Where observations are structured, so that states are mappings of arrays, leave it at ``Buffer``.

    Args:
        capacity: rows held; older ones are overwritten. At least (n_frames + 1) * n_streams, and a
            multiple of n_streams.
        obs_shape: shape of one observation. For structured observations a mapping from names to a
            shape, to (shape, dtype), or to another mapping.
        n_frames: observations stacked to a state; for structured observations perhaps a mapping from
            names at the top level to their number of frames, 1 for those it lacks.
        backend: name of a backend, or a Backend.
        device: where observations are stored, such as "cuda:0"; None for the backend's default.
        seed: of the generator that draws rows; None for a random one.
        obs_dtype: dtype that observations are stored and sampled in; uint8 images take a byte a pixel.
        action_shape: shape of one action.
        action_dtype: dtype of actions; None for the backend's default integer.
        extras: further columns: name to dtype, or to (shape, dtype).
        n_streams: parallel environments or agents; each has a ring of capacity / n_streams rows.
        n_step: how many rewards are summed.
        gamma: discount of one step, in [0, 1].
        boundary: what is done with a stack that would hold frames of an earlier episode: "mask" makes
            the row invalid, "pad" replaces these frames by zeros.
        sampler: how rows are drawn; None for `Uniform()`.
        path: a new or empty folder, for memory-mapped rows: there may be more than fit in memory. See
            :meth:`flush` and :meth:`open`. Rows are on the host then, and each batch is copied to the
            device.

    Attributes:
        backend: the Backend.
        spec: the options in their final types.
        sampler: how rows are drawn.
        rng: the generator that draws them.

    Raises:
        ValueError, TypeError: an argument is wrong; the message names it.
        BackendError: the backend is unknown or missing, or lacks the device or a dtype.
        FileExistsError: ``path`` holds a buffer or other files.
        FolderInUse: another buffer or process uses ``path``.
        OSError: the disk has no room for ``capacity`` rows.

    >>> buffer = Buffer(100, (2,), seed=0)
    >>> for step in range(10):
    ...     buffer.add([step, 0], action=step % 2, reward=1.0, done=step == 9)
    >>> states, actions, rewards, next_states, dones, valid = buffer.sample(4)
    >>> bool((next_states[:, 0] == states[:, 0] + 1).all())
    True
    """

    other_names = _OTHER_NAMES

    def __init__(
        self,
        capacity: int,
        obs_shape: int | Sequence[int] | Mapping[str, Any],
        n_frames: int | Mapping[str, int] = 1,
        *,
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
        path: str | os.PathLike[str] | BufferFolder | None = None,
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
        if isinstance(self.sampler, Hindsight):
            self.sampler.check(self.spec)
        self.rng = np.random.Generator(np.random.Philox(checks.seed(seed)))
        self._fields = StepFields(self.spec)
        if path is None:
            self._store = Store(self.backend, self.spec)
            return
        folder = path if isinstance(path, BufferFolder) else BufferFolder.create(path)
        with folder.abandoned_on_error():
            self._store = MappedStore(self.backend, self.spec, folder, self._commit)
            if folder is not path:
                self.flush()
                folder.tidy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        with self._store.lock:  # whatever other threads do, rows are whole
            made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    # Writing

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
        """Store one step, or one step of every stream.

        With several streams and no ``stream`` given, every argument has a leading axis [n_streams].
        Arrays may be of any framework; they are copied. Leading axes of length 1 are dropped.

        Whatever is given as ``next_obs`` is the successor of the step. Where the next observation of
        the stream differs from it, the step counts as truncated. So a loop that passes every
        ``next_obs`` is right also where the environment was reset in between.

        Args:
            obs: [*obs_shape], what the agent saw; a mapping where observations are structured.
            action: [*action_shape], what it did.
            reward: the reward of the step.
            done: whether the step terminated the episode, so that there is nothing to bootstrap from.
            truncated: whether the episode was cut off after the step, by a time limit for example;
                where ``done`` is set too, ``done`` counts.
            next_obs: like ``obs``, the observation after the step. It takes a row of its own only where
                the next ``add`` does not bring the same. It is not used where ``done`` is set. A
                truncated step without it is invalid in ``sample``.
            stream: the stream that the step belongs to.
            where: [n_streams], whether each stream took a step; nothing is stored for the others, whose
                arguments are ignored. A vector environment that resets in a step of its own
                (Gymnasium's ``AutoresetMode.NEXT_STEP``) needs it.
            **extras: a value for each of the buffer's extras.

        Raises:
            ValueError, TypeError: an argument has the wrong shape, dtype or name; the buffer is as
                it was before.

        >>> buffer = Buffer(100, (2,))
        >>> buffer.add([0.0, 1.0], 1, 0.5, done=False, truncated=True, next_obs=[0.0, 2.0])
        >>> len(buffer)  # the step, and the observation after it
        2
        """
        fields, store = self._fields, self._store
        if stream is None:
            if fields.n_streams > 1:
                steps = fields.each(obs, action, reward, done, truncated, next_obs, extras)
                taken = None if where is None else fields.taken(where)
                with store.lock:
                    store.put_each(steps, taken)
                return
            stream = 0
        else:
            stream = self._checked_stream(stream)
        if where is not None and not self._is_taken(where):
            return
        step = fields.one(obs, action, reward, done, truncated, next_obs, extras)
        with store.lock:
            store.put(stream, step)

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
        """Store T steps, or T steps of every stream: what T calls of :meth:`add` do, at memory speed.

        Every argument has a leading axis [T], oldest step first; with several streams and no ``stream``
        given [T, n_streams]. All else is as for :meth:`add`.

        Raises:
            ValueError, TypeError: an argument has the wrong shape, dtype or name; the buffer is as
                it was before.

        >>> import numpy as np
        >>> buffer = Buffer(100, (2,))
        >>> buffer.extend(np.zeros((10, 2)), np.zeros(10, int), np.ones(10), np.arange(10) == 9)
        >>> len(buffer), buffer.drawable
        (10, 10)
        """
        streams = self._checked_streams(stream)
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
        if len(chunk.terminated):
            with self._store.lock:
                self._store.put_chunk(np.array(streams), chunk)

    def end_episode(self, stream: int | None = None) -> None:
        """End the episode, if one is open: the next step begins another.

        The newest step, unless it was terminated or truncated, becomes one without a known successor.

        Args:
            stream: the stream whose episode ends; None for all of them.
        """
        streams = self._checked_streams(stream)
        with self._store.lock:
            for each in streams:
                self._store.end_episode(each)

    def add_empty(self, stream: int | None = None) -> None:
        """End the episode, and write n_frames - 1 rows of zeros that the next one begins with.

        The newest step, unless it was terminated or truncated, becomes one without a known successor.

        Args:
            stream: the stream whose episode ends; None for all of them.
        """
        streams = self._checked_streams(stream)
        with self._store.lock:
            for each in streams:
                self._store.end_episode(each)
                for _ in range(self.n_frames - 1):
                    self._store.put_idle(each, BLANK, {})

    def add_from_buffer(self, other: Buffer) -> None:
        """Append all rows of another buffer, oldest first; it may be on another backend.

        Its streams are appended to the streams of the same number; a buffer of one stream takes them
        one after another. No sample joins a row of one buffer to a row of the other: the episode that
        was open in either ends there.

        Raises:
            TypeError, ValueError: ``other`` is no Buffer, or its rows look different.
        """
        self._check_same_rows(other)
        with holding(self._store, other._store):
            self._store.check_actions(other._store)
            for source in range(other.n_streams):
                self._store.put_stream(source if self.n_streams > 1 else 0, other._store, source)

    def clear(self) -> None:
        """Remove all rows. The generator keeps its state."""
        with self._store.lock:
            self._store.clear()
            self.sampler.clear()

    def update_priorities(self, indices: Any, td: Any) -> None:
        """Report the temporal-difference errors of rows to the sampler.

        Rows that were overwritten since they were drawn are skipped.

        Args:
            indices: [B], ``Batch.indices``.
            td: [B] or [B, 1], errors; their absolute values are the priorities.

        Raises:
            ValueError, TypeError: lengths differ, or an error is not finite.
        """
        which, priorities = checked_priorities(indices, td)
        store = self._store
        with store.lock:
            rows, stored = store.ring.current_rows(which)
            if np.count_nonzero(stored) < len(rows):
                rows, priorities = rows[stored], priorities[stored]
            self.sampler.update(store, rows, priorities)

    # Sampling

    def sample(self, batch_size: int, *, flatten: bool = True) -> Batch[ArrayT]:
        """Draw a minibatch.

        Args:
            batch_size: rows to draw, at least 1.
            flatten: whether the frames of a state form one axis [B, n_frames * prod(obs_shape)], or
                have their own: [B, n_frames, *obs_shape].

        Raises:
            NotEnoughTransitions: fewer rows can be drawn; the message has both numbers.
        """
        store = self._store
        with store.lock:
            plan, indices = self._drawn(batch_size)
            batch = store.columns.batch(plan, flatten)
        batch.indices = indices
        return batch

    def sample_sequences(
        self, batch_size: int, length: int, *, within_episode: bool = False, flatten: bool = True
    ) -> Batch[ArrayT]:
        """Draw runs of ``length`` consecutive rows of a stream.

        They are all different and equally likely; with :class:`Prioritized` they are drawn by the
        priority of their first row, and a run may come twice. A run may cross into the next episode,
        unless ``within_episode`` is set. Each of its rows is valid or not as in :meth:`sample`.

        Args:
            batch_size: runs to draw, at least 1.
            length: rows in each, at least 1.
            within_episode: whether only runs are drawn that lie in one episode, without blank rows or
                observations after a truncated step inside.
            flatten: as in :meth:`sample`.

        Returns:
            A batch with a time axis: [B, length, ...]; ``indices`` [B] are of the first rows.

        Raises:
            NotEnoughTransitions: fewer runs can be drawn; the message has both numbers.
        """
        batch_size = checks.integer("batch_size", batch_size, 1)
        length = checks.integer("length", length, 1)
        store, xp = self._store, self.backend.xp

        def timed(array: AnyArray) -> AnyArray:
            return xp.reshape(array, (batch_size, length, *array.shape[1:]))

        with store.lock:
            streams, firsts, weights = self._drawn_runs(batch_size, length, within_episode)
            serials = (firsts[:, None] + np.arange(length)).reshape(-1)
            weights = None if weights is None else np.repeat(weights, length)
            plan = store.plan(np.repeat(streams, length), serials, weights)
            batch = store.columns.batch(plan, flatten)
        batch = batch.each(timed)
        batch.indices = store.ring.indices(streams, firsts)
        return batch

    def fetch(self, indices: Any, *, flatten: bool = True) -> Batch[ArrayT]:
        """Return the rows with these indices, drawn before or not.

        Rows that can't be drawn now, as their stack or successor is not stored, are invalid.

        Args:
            indices: [B], as ``Batch.indices`` has them.
            flatten: as in :meth:`sample`.

        Raises:
            IndexError: rows are not stored, or not any more; the message has the first of them.

        >>> buffer = Buffer(8, (2,), seed=0)
        >>> for step in range(5):
        ...     buffer.add([step, step], action=0, reward=1.0, done=False)
        >>> batch = buffer.sample(3)
        >>> bool((buffer.fetch(batch.indices).states == batch.states).all())
        True
        """
        which, store = checks.vector("indices", indices, "int64"), self._store
        with store.lock:
            _, stored = store.ring.current_rows(which)
            if not stored.all():
                missing = which[~stored]
                raise IndexError(
                    f"indices holds {len(missing)} rows that are not stored, such as {missing[0]}; "
                    "expected indices of batches whose rows were not overwritten since"
                )
            streams, serials = which % self.n_streams, which // self.n_streams
            plan = store.plan(streams, serials)
            plan.scalars[2, ~store.ring.is_drawable(streams, serials)] = 0.0
            batch = store.columns.batch(plan, flatten)
        batch.indices = which
        return batch

    def as_dataset(
        self,
        batch_size: int,
        n_batches: int | None = None,
        *,
        prefetch: int = 0,
        flatten: bool = True,
    ) -> Minibatches[ArrayT]:
        """Return an iterable of minibatches, each drawn when it is asked for, or before.

        With ``prefetch=k`` a thread draws ahead: batch i is drawn at the moment when batch i - k is
        asked for, the first k + 1 at once. A buffer that is not changed meanwhile gives the same
        batches for every k. Steps that are added, and priorities that are reported, count k batches
        later. No moment depends on the thread: one seed gives the same batches every time. Where
        iteration stops early, what was drawn and not used is taken back, unless something else was
        drawn meanwhile. The thread ends with the iterator.

        On torch it counts as a ``torch.utils.data.IterableDataset``: pass it to a DataLoader with
        ``batch_size=None``, as its items are batches, and with ``num_workers=0``. A worker process that
        iterates over it gets a RuntimeError.

        Args:
            batch_size: rows of each.
            n_batches: how many one iteration has; None for no end.
            prefetch: how many are drawn ahead.
            flatten: as in :meth:`sample`.

        >>> buffer = Buffer(8, (2,))
        >>> for step in range(5):
        ...     buffer.add([step, step], action=0, reward=1.0, done=False)
        >>> [batch.states.shape for batch in buffer.as_dataset(3, n_batches=2, prefetch=1)]
        [(3, 2), (3, 2)]
        """
        batch_size = checks.integer("batch_size", batch_size, 1)
        if n_batches is not None:
            n_batches = checks.integer("n_batches", n_batches, 1)
        prefetch = checks.integer("prefetch", prefetch, 0)
        return Minibatches(self, batch_size, n_batches, prefetch, flatten)

    def draw(self, batch_size: int) -> tuple[Params, Plan | Packed, np.ndarray]:
        """Draw a minibatch for a compiled function that assembles it itself.

        Returns:
            The two arguments of the function that :meth:`assembler` returned, and the batch's indices.
            On a device with a memory of its own the first are the stored columns, which must be read at
            once, and neither written nor kept: in :meth:`drawing`, where other threads add. On the host
            the rows are gathered already.
        """
        store = self._store
        with store.lock:
            plan, indices = self._drawn(batch_size)
            return *store.columns.material(plan), indices

    def drawing(self) -> AbstractContextManager[Any]:
        """Return a context in which no other thread writes to what :meth:`draw` returned."""
        return self._store.lock if self._store.columns.lends_storage else _NOTHING

    def assembler(self, *, flatten: bool = True) -> Callable[[Params, Plan | Packed], Batch[ArrayT]]:
        """Return the pure function that makes a batch from what :meth:`draw` returned."""
        backend, spec = self.backend, self.spec

        def batch_of(columns: Params, plan: Plan | Packed) -> Batch[ArrayT]:
            return assemble(backend, spec, columns, plan, flatten=flatten)

        return batch_of

    # Reading

    def current_state(self, stream: int = 0) -> ArrayT:
        """Return the frames to put before the newest observation: [n_frames - 1, *obs_shape].

        Frames of earlier episodes are zero. A mapping of such arrays where observations are structured.
        """
        stream = self._checked_stream(stream)
        with self._store.lock:
            frames = self._store.recent(stream)
        return nested(self.spec.leaves, [self.backend.from_numpy(each) for each in frames])

    def last_transition(self, offset: int = 0, stream: int = 0) -> tuple[Any, float, bool] | None:
        """Return the (action, reward, done) of the step ``offset`` steps before the newest, if stored.

        The action is an int or a float, or a host array where actions have a shape.
        """
        offset = checks.integer("offset", offset, 0)
        stream = self._checked_stream(stream)
        with self._store.lock:
            row = self._store.ring.step_row(stream, offset)
            return None if row is None else self._outcome(row)

    def __len__(self) -> int:
        """Rows stored, of all streams; blank and boundary rows count."""
        return self.size

    def __getitem__(self, index: Any) -> tuple[Any, Any, Any, Any]:
        """Return (obs, action, reward, done) of stored rows, stream after stream, oldest first.

        A slice, a list and an array, of integers or of truth values, give native arrays with a leading
        axis.
        """
        with self._store.lock:
            rows = self._store.ring.all_rows()
            if isinstance(index, slice):
                several: Any = index
            elif isinstance(index, list | tuple) or getattr(index, "ndim", 0) == 1:
                several = self._places(index, len(rows))
            else:
                several = None
            if several is not None:
                chosen = rows[several]
                outcomes = (self._host_column(name)[chosen] for name in ("action", "reward", "done"))
                return (self._observed(chosen), *map(self.backend.from_numpy, outcomes))
            try:
                row = int(rows[operator.index(index)])
            except IndexError:
                raise IndexError(
                    f"index={index} is out of range: {len(rows)} rows are stored"
                ) from None
            obs = map_tree(lambda array: array[0, ...], self._observed(np.array([row])))
            return (obs, *self._outcome(row))

    @property
    def states(self) -> ArrayT:
        """Every observation, in ring order: a copy [capacity, *obs_shape]."""
        with self._store.lock:
            copies = [self._store.columns.copied(leaf.column) for leaf in self.spec.leaves]
        return nested(self.spec.leaves, copies)

    @property
    def actions(self) -> ArrayT:
        """Every action, in ring order: a copy [capacity, *action_shape]."""
        return self.backend.from_numpy(self._host_column("action"))

    @property
    def rewards(self) -> ArrayT:
        """Every reward, in ring order: a copy [capacity] float32."""
        return self.backend.from_numpy(self._host_column("reward"))

    @property
    def dones(self) -> ArrayT:
        """Every done, in ring order: a copy [capacity] float32."""
        return self.backend.from_numpy(self._host_column("done"))

    @property
    def extra_data(self) -> Mapping[str, ArrayT]:
        """The extras by name, in ring order: a copy [capacity, ...], made when a name is looked up."""
        return _Extras([name for name, _, _ in self.spec.extras], self._extra_column)

    @property
    def capacity(self) -> int:
        """Rows held at most, of all streams together."""
        return self.spec.capacity

    @property
    def obs_shape(self) -> Any:
        """Shape of one observation; for structured ones a nested dict of name to (shape, dtype)."""
        return self.spec.obs_shape

    @property
    def n_frames(self) -> int:
        """Observations in a state; of structured ones the most that a part has."""
        return self.spec.n_frames

    @property
    def n_streams(self) -> int:
        """Streams, each with a ring of its own."""
        return self.spec.n_streams

    @property
    def size(self) -> int:
        """Rows stored, of all streams together; blank and boundary rows count."""
        with self._store.lock:
            return int(self._store.ring.sizes.sum())

    @property
    def drawable(self) -> int:
        """Rows that can be drawn now, valid or not."""
        with self._store.lock:
            return self._store.ring.count_drawable()

    @property
    def idx(self) -> int:
        """Row that the next ``add`` writes; of the first stream, where there are several."""
        with self._store.lock:
            return self._store.ring.newest_row(0, -1)

    def getidx(self) -> int:
        """Return :attr:`idx`."""
        return self.idx

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.capacity}, {self.obs_shape}, n_frames={self.n_frames}, "
            f"backend={self.backend.name!r}, size={self.size})"
        )

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows, the options, the sampler and the generator to one safetensors file."""
        with self.packed() as (manifest, arrays):
            files.write(path, "buffer", manifest, arrays)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        sampler: Sampler | None = None,
    ) -> Self:
        """Return the buffer saved at ``path``; it draws what the saved one would have drawn next.

        Args:
            path: the file.
            backend: another backend than it was saved from; None for the same.
            device: as for the constructor.
            sampler: needed for a buffer that was saved with a sampler of your own.

        Raises:
            CheckpointError: the file is damaged, or holds no buffer.
            FileNotFoundError: there is no such file.
            OSError: it can't be read.
        """
        with files.opened(path, "buffer") as (manifest, arrays):
            return cls.unpack(path, manifest, arrays, backend=backend, device=device, sampler=sampler)

    @contextmanager
    def packed(self) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray | files.PiecewiseArray]]]:
        """Within this context the buffer does not change: what :meth:`save` writes.

        It is a manifest in JSON's types, and named host arrays. Rows are read when they are written.
        """
        with self._store.lock:
            manifest = file.manifest_of(self.spec, self.backend, self.sampler, self.rng)
            yield manifest, file.arrays_of(self._store, self.sampler)

    @classmethod
    def unpack(
        cls,
        path: str | os.PathLike[str],
        manifest: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray | files.StoredArray],
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        sampler: Sampler | None = None,
    ) -> Self:
        """Return the buffer that :meth:`packed` described; arguments are those of :meth:`load`.

        Raises:
            CheckpointError: the values are unsound; the message names ``path``.
        """
        file.check_fits(path, manifest, arrays)
        with file.sound(path, "buffer"):
            chosen = file.backend_for(path, manifest, backend, device)
            buffer = cls(**file.buffer_options(manifest, chosen, sampler), backend=chosen)
            file.restore(buffer._store, buffer.sampler, buffer.rng, manifest, arrays)
        return buffer

    def actions_by_age(self) -> Iterator[np.ndarray]:
        """Yield the stored actions on the host, some [N, *action_shape] at a time; for checks."""
        for rows in self._store.ring.rows_by_age(PART):
            yield self._store.actions[rows]

    def flush(self) -> None:
        """Make the rows in the folder of ``path`` durable, with the sampler and the generator.

        After a kill at any moment, :meth:`open` finds the rows of the last flush, except those that
        later rows were written over. Rows added since are gone, and no half-written row is found. If
        the machine fails, not the process alone, up to half of a full ring may have to be dropped too:
        the oldest rows. When half of the flushed rows were overwritten, the buffer flushes by itself.
        :meth:`clear` is durable after a flush, as rows are.

        The cost is that of writing what changed to the disk, and 16 bytes for each row of the capacity
        with :class:`Prioritized`. Flush every few thousand rows, or with each checkpoint.

        Raises:
            ValueError: the buffer has no ``path``.
            OSError: the disk is full, for example; the last flush still holds.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     buffer = Buffer(100, (2,), path=folder)
        ...     buffer.add([0.0, 1.0], 1, 0.5, done=True)
        ...     buffer.flush()
        ...     del buffer  # one buffer at a time uses a folder
        ...     len(Buffer.open(folder))
        1
        """
        if not isinstance(self._store, MappedStore):
            raise ValueError(
                "flush: this buffer has no path= and its rows are in memory; create it with "
                "path='folder', or write a copy with save(path)"
            )
        with self._store.lock:
            self._commit()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        sampler: Sampler | None = None,
    ) -> Self:
        """Return the buffer of ``Buffer(..., path=path)`` as :meth:`flush` describes it.

        It draws what the flushed one would have drawn next. The folder is locked until the buffer is
        deleted or the process ends.

        Args:
            path: the folder.
            backend: another backend than the last one; None for the same. If it lacks the integers of
                the actions, they are converted, in the folder too.
            device: as for the constructor.
            sampler: needed for a buffer with a sampler of your own.

        Raises:
            FileNotFoundError: there is no such folder.
            CheckpointError: the folder holds no buffer, a damaged one, or one of a newer version.
            FolderInUse: another buffer or process uses the folder.
        """
        folder, manifest, arrays = BufferFolder.open(path)
        with folder.abandoned_on_error(), file.sound(path, "buffer"):
            file.check_folder(path, manifest, arrays)
            chosen = file.backend_for(path, manifest, backend, device)
            options = file.buffer_options(manifest, chosen, sampler)
            dtype, new_dtype = manifest["spec"]["action_dtype"], options["action_dtype"]
            folder.new = {("actions", new_dtype)} if new_dtype != dtype else set()
            buffer = cls(**options, backend=chosen, path=folder)
            buffer._recover(manifest, arrays, dtype)
        return buffer

    # Compiled code

    def state(self) -> State:
        """Return all rows in the functional form, for compiled code: a copy.

        With :class:`Prioritized` it has the priorities; of another sampler it has nothing.

        Raises:
            ValueError: the buffer has more than 2**29 rows.
        """
        with self._store.lock:
            return convert.to_state(self.spec, self.backend, self._store, self.sampler)

    @classmethod
    def from_state(
        cls,
        state: State,
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        seed: int | None = None,
    ) -> Self:
        """Return a buffer with the rows of a state: a copy.

        Args:
            state: what :meth:`state` or a function of :mod:`trifolium.replay` returned.
            backend: another backend than the state's; None for the same.
            device: as for the constructor.
            seed: of the generator that draws rows; None for a random one.

        Raises:
            ValueError: ``state`` holds the arrays of many states, as ``jax.vmap`` makes them.
            CheckpointError: its arrays are unsound.

        >>> buffer = Buffer(8, (2,))
        >>> buffer.add([0.0, 1.0], action=0, reward=1.0, done=False)
        >>> len(Buffer.from_state(buffer.state()))
        1
        """
        convert.check_cursors(state)
        chosen = get_backend(state.backend if backend is None else backend, device=device)
        options = state.spec.options(chosen) | {"sampler": convert.sampler_of(state)}
        buffer = cls(**options, backend=chosen, seed=seed)
        with file.sound("the state", "buffer"):
            convert.restore_state(buffer._store, buffer.sampler, state)
        return buffer

    # Recordings

    @classmethod
    def from_spaces(
        cls, capacity: int, observation_space: Any, action_space: Any, **options: Any
    ) -> Self:
        """Return an empty buffer for the spaces of an environment of Gymnasium.

        Dict and Tuple spaces become structured observations; the names of a Tuple's parts are "0", "1"
        and so on. 64-bit floats are stored as float32, 64-bit integers as the backend's default
        integer.

        Args:
            capacity: as for the constructor.
            observation_space: such as ``env.observation_space``.
            action_space: such as ``env.action_space``.
            **options: further arguments of the constructor, which may replace what the spaces say.

        Raises:
            TypeError: a space has no arrays of fixed shapes; the message names it.

        >>> from types import SimpleNamespace
        >>> box = SimpleNamespace(shape=(4,), dtype="float32")
        >>> discrete = SimpleNamespace(shape=(), dtype="int64")
        >>> Buffer.from_spaces(100, box, discrete).obs_shape
        (4,)
        """
        backend = get_backend(options.pop("backend", "numpy"), device=options.pop("device", None))
        found = space_options(observation_space, action_space, backend.default_int)
        return cls(capacity, **(found | options), backend=backend)

    @classmethod
    def from_arrays(
        cls,
        observations: Any,
        actions: Any,
        rewards: Any,
        terminations: Any,
        truncations: Any = None,
        next_observations: Any = None,
        *,
        capacity: int | None = None,
        **options: Any,
    ) -> Self:
        """Return a buffer with the steps of a data set, in D4RL's layout, for example.

        Without ``next_observations`` the successor of a step is the next observation; a truncated step
        has none then, and is invalid. With them every step has the successor that is given. float64
        arrays are stored as float32, int64 observations as the backend's default integer.

        Args:
            observations: [T, *obs_shape], or a mapping of such arrays.
            actions: [T, *action_shape].
            rewards: [T] or [T, 1].
            terminations: [T], whether each step terminated its episode.
            truncations: [T], whether an episode was cut off after each step; None for nowhere.
            next_observations: as ``observations``; None if they are not known.
            capacity: rows held, if not those of all steps; the oldest steps are dropped first.
            **options: further arguments of the constructor.

        Raises:
            TypeError, ValueError: an argument is no such array; the message names it.

        >>> import numpy as np
        >>> done = np.arange(10) % 5 == 4
        >>> buffer = Buffer.from_arrays(np.zeros((10, 2)), np.zeros(10, int), np.ones(10), done)
        >>> buffer.drawable
        10
        """
        if "n_streams" in options:
            raise TypeError("n_streams was given; expected none: a data set is stored in one stream")
        steps = recorded(observations, actions, rewards, terminations, truncations, next_observations)
        backend = get_backend(options.pop("backend", "numpy"), device=options.pop("device", None))
        found = steps.options(backend.default_int)
        found["capacity"] = steps.rows if capacity is None else capacity
        if capacity is None:
            frames = options.get("n_frames", 1)
            most = max(frames.values()) if isinstance(frames, Mapping) else frames
            found["capacity"] = max(found["capacity"], int(most) + 1)
        buffer = cls(**(found | options), backend=backend)
        for part in steps.parts(PART):
            buffer.extend(**part)
        buffer.end_episode()
        return buffer

    @classmethod
    def from_minari(
        cls,
        dataset: EpisodeSource,
        *,
        capacity: int | None = None,
        observe: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> Self:
        """Return a buffer with the episodes of a dataset, of which every step can be drawn.

        An episode whose recording stops before its end counts as truncated: the observation after its
        last step is known. float64 observations and actions are stored as float32, int64 observations
        as the backend's default integer.

        Args:
            dataset: what ``minari.load_dataset`` returns, or any object with ``iterate_episodes()``.
            capacity: rows held, if not those of all episodes; the oldest episodes are dropped first.
            observe: makes an array [T + 1, *obs_shape], or a mapping of such arrays, of an episode's
                observations; None if they are that. Tuples become mappings with the names "0", "1" and
                so on; parts that are text are left out.
            **options: further arguments of the constructor. Shapes and dtypes of observations and
                actions are those of the dataset unless they are given.

        Raises:
            TypeError, ValueError: the dataset has no episodes, or they are not of that kind.

        >>> from types import SimpleNamespace
        >>> import numpy as np
        >>> episode = SimpleNamespace(
        ...     observations=np.zeros((4, 2)),
        ...     actions=np.zeros(3, int),
        ...     rewards=np.ones(3),
        ...     terminations=np.array([False, False, True]),
        ...     truncations=np.zeros(3, bool),
        ... )
        >>> dataset = SimpleNamespace(iterate_episodes=lambda: [episode] * 5)
        >>> Buffer.from_minari(dataset, gamma=0.9).drawable
        15
        """
        if "n_streams" in options:
            raise TypeError("n_streams was given; expected none: a dataset is stored in one stream")
        backend = get_backend(options.pop("backend", "numpy"), device=options.pop("device", None))
        found = found_options(episodes(dataset, observe), backend.default_int)
        if capacity is not None:
            found["capacity"] = capacity
        buffer = cls(**(found | options), backend=backend)
        for episode in episodes(dataset, observe):
            buffer.extend(**episode.chunk())
        buffer._store.put_idle(0, BLANK, {})  # a row after a last step that terminated
        return buffer

    # Helpers

    @staticmethod
    def _places(index: Any, count: int) -> np.ndarray:
        """Return several places among ``count`` rows as an array that NumPy indexes with."""
        array = as_numpy(index)
        if array.dtype == np.bool:
            if array.shape != (count,):
                raise IndexError(f"index has shape {array.shape}; expected {(count,)}, the rows stored")
            return array
        places = checks.vector("index", array, "int64")
        beyond = places[(places >= count) | (places < -count)]
        if len(beyond):
            raise IndexError(f"index={beyond[0]} is out of range: {count} rows are stored")
        return places

    def _recover(
        self, manifest: Mapping[str, Any], arrays: dict[str, np.ndarray], action_dtype: str
    ) -> None:
        """Set what the last flush of a folder found; nothing in the folder changes if it is unsound."""
        store = self._store
        assert isinstance(store, MappedStore)
        file.set_generator(self.rng, manifest["generator"])
        try:
            is_changed = store.recover(file.below("rows.", arrays), action_dtype)
            file.restore_sampler(store, self.sampler, arrays)
        except BaseException:
            store.abandon()
            raise
        if is_changed:
            self.flush()
        store.folder.tidy()
        store.settle()

    def _commit(self) -> None:
        """Flush; the lock is held by the caller."""
        assert isinstance(self._store, MappedStore)
        manifest = file.manifest_of(self.spec, self.backend, self.sampler, self.rng)
        self._store.commit(manifest, self.sampler.state())

    def _is_taken(self, where: Any) -> bool:
        """Return ``where`` of a single stream as a bool."""
        if self.n_streams > 1:
            raise TypeError("where and stream were both given; expected one of them")
        return checks.flag("where", where)

    def _drawn(self, batch_size: int) -> tuple[Plan, np.ndarray]:
        store = self._store
        streams, serials, weights = self.sampler.draw(
            store, self.rng, checks.integer("batch_size", batch_size, 1)
        )
        plan = store.plan(streams, serials, weights)
        if isinstance(self.sampler, Hindsight):
            plan = self.sampler.relabel(store, self.rng, plan, streams, serials)
        return plan, store.ring.indices(streams, serials)

    def _ahead(
        self, batch_size: int, n_batches: int | None, prefetch: int, flatten: bool
    ) -> Iterator[Batch[ArrayT]]:
        """Return an iterator over minibatches, ``prefetch`` of which are drawn ahead."""
        columns, copier = self._store.columns, None
        is_copied = isinstance(columns, HostColumns) and not self.backend.shares_host_memory
        if is_copied and isinstance(self.backend, CopiesBatches):
            copier = self.backend.copier()
        made = columns.host_batch if copier and isinstance(columns, HostColumns) else columns.batch

        def draw() -> Batch:
            plan, indices = self._drawn(batch_size)
            batch = made(plan, flatten)
            batch.indices = indices
            return batch

        return Ahead(draw, self._store, self.sampler, self.rng, n_batches, prefetch, copier)

    def _drawn_runs(self, batch_size: int, length: int, within_episode: bool) -> Draw:
        """Return the first rows of runs."""
        store = self._store
        accept: Accept | None = None
        if checks.flag("within_episode", within_episode):

            def accept(streams: np.ndarray, firsts: np.ndarray) -> np.ndarray:
                return store.unbroken(streams, firsts, length)

        if isinstance(self.sampler, SequenceSampler):
            return self.sampler.draw_sequences(store, self.rng, batch_size, length, accept)
        if accept is None:
            return Draw(*draw_runs(store.ring, self.rng, batch_size, span=length))
        return Draw(*draw_accepted(store.ring, self.rng, batch_size, accept, span=length))

    def _observed(self, rows: np.ndarray) -> Any:
        read, native = self._store.columns.read, self.backend.from_numpy
        return nested(self.spec.leaves, [native(read(leaf.column, rows)) for leaf in self.spec.leaves])

    def _extra_column(self, name: str) -> AnyArray:
        with self._store.lock:
            return self._store.columns.copied(name)

    def _host_column(self, name: str) -> np.ndarray:
        with self._store.lock:
            if name == "done":
                return ((self._store.ring.marks & TERMINATED) != 0).astype(np.float32)
            return (self._store.actions if name == "action" else self._store.rewards).copy()

    def _outcome(self, row: int) -> tuple[Any, float, bool]:
        action = self._store.actions[row]
        return (
            action.copy() if self.spec.action_shape else action.item(),
            float(self._store.rewards[row]),
            bool(self._store.ring.marks[row] & TERMINATED),
        )

    def _checked_stream(self, stream: int) -> int:
        found = checks.integer("stream", stream, 0)
        if found >= self.n_streams:
            raise ValueError(
                f"stream={found} does not exist; expected 0 to {self.n_streams - 1}, "
                f"as n_streams={self.n_streams}"
            )
        return found

    def _checked_streams(self, stream: int | None) -> Sequence[int]:
        return range(self.n_streams) if stream is None else [self._checked_stream(stream)]

    def _check_same_rows(self, other: Any) -> None:
        if not isinstance(other, Buffer):
            raise TypeError(f"other is a {type(other).__name__}; expected a Buffer")
        for option in ("obs_shape", "obs_dtype", "action_shape", "extras"):
            theirs, ours = getattr(other.spec, option), getattr(self.spec, option)
            if theirs != ours:
                raise ValueError(f"other has {option}={theirs!r}; expected {ours!r}, as here")
        if self.n_streams not in (1, other.n_streams):
            raise ValueError(
                f"other has n_streams={other.n_streams}; expected {self.n_streams}, as here"
            )


class Minibatches(Generic[ArrayT]):
    """The iterable that :meth:`Buffer.as_dataset` returns, for the process that made it alone."""

    def __init__(
        self,
        buffer: Buffer[ArrayT],
        batch_size: int,
        n_batches: int | None,
        prefetch: int,
        flatten: bool,
    ) -> None:
        self._buffer = buffer
        self._batch_size = batch_size
        self._n_batches = n_batches
        self._prefetch = prefetch
        self._flatten = flatten
        self._process = os.getpid()

    def __iter__(self) -> Iterator[Batch[ArrayT]]:
        if os.getpid() != self._process:
            raise RuntimeError(
                "a worker process iterates over batches of a buffer: each worker would draw the same "
                "batches, from a copy of the buffer that receives no new rows; expected num_workers=0, "
                "perhaps with as_dataset(..., prefetch=2), which draws ahead in a thread"
            )
        if self._prefetch:
            options = (self._batch_size, self._n_batches, self._prefetch, self._flatten)
            return self._buffer._ahead(*options)
        numbers = count() if self._n_batches is None else range(self._n_batches)
        return (self._buffer.sample(self._batch_size, flatten=self._flatten) for _ in numbers)


class _Extras(Mapping[str, AnyArray]):
    """The extras of a buffer; each is copied when it is looked up."""

    def __init__(self, names: Sequence[str], make: Callable[[str], AnyArray]) -> None:
        self._names = tuple(names)
        self._make = make

    def __getitem__(self, name: str) -> AnyArray:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __setitem__(self, name: str, value: Any) -> None:
        raise TypeError(
            f"extra_data[{name!r}] can't be assigned: it is a copy. Declare the column when the buffer "
            f"is made, extras={{{name!r}: dtype}}, and pass {name}= to add"
        )

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
