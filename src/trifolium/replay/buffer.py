"""Buffer: the replay memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trifolium import _checks as checks
from trifolium.backend import Array, Backend, Params, get_backend
from trifolium.replay.assemble import Packed, Plan
from trifolium.replay.batch import Batch
from trifolium.replay.intake import Intake
from trifolium.replay.minibatches import Minibatches
from trifolium.replay.ring import BLANK
from trifolium.replay.samplers import LARGEST_PRIORITY, Sampler, Uniform, draw_runs
from trifolium.replay.spec import BufferSpec
from trifolium.replay.transfer import Transfer

__all__ = ["Buffer"]


class Buffer(Transfer):
    """A ring of transitions that hands out minibatches of the backend's own arrays.

    Each observation is stored once: the successor of a step is the row after it. One host generator
    draws every row, so one seed gives the same minibatches, bit for bit, on every backend.

    Args:
        capacity: rows held; older ones are overwritten. At least (n_frames + 1) * n_streams, and a
            multiple of n_streams.
        obs_shape: shape of one observation.
        n_frames: observations stacked to a state.
        backend: name of a backend, or a Backend.
        device: where observations lie, such as "cuda:0"; None for the backend's default.
        seed: of the generator that draws rows; None for a random one.
        obs_dtype: dtype that observations are stored and sampled in; uint8 images take a byte a pixel.
        action_shape: shape of one action.
        action_dtype: dtype of actions; None for the backend's default integer.
        extras: further columns: name to dtype, or to (shape, dtype).
        n_streams: parallel environments or agents; each has a ring of capacity / n_streams rows.
        n_step: how many rewards are summed.
        gamma: discount of one step, in [0, 1].
        boundary: what becomes of a stack that would hold frames of an earlier episode: "mask" makes
            the row invalid, "pad" puts zeros in their place.
        sampler: how rows are drawn; None for `Uniform()`.

    Raises:
        ValueError, TypeError: an argument is wrong; the message names it.
        BackendError: the backend is unknown or missing, or lacks the device or a dtype.

    >>> buffer = Buffer(100, (2,), seed=0)
    >>> for step in range(10):
    ...     buffer.add([step, 0], action=step % 2, reward=1.0, done=step == 9)
    >>> states, actions, rewards, next_states, dones, valid = buffer.sample(4)
    >>> bool((next_states[:, 0] == states[:, 0] + 1).all())
    True
    """

    def __init__(
        self,
        capacity: int,
        obs_shape: int | Sequence[int],
        n_frames: int = 1,
        *,
        backend: str | Backend = "numpy",
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
    ) -> None:
        chosen = get_backend(backend, device=device)
        spec = BufferSpec.checked(
            chosen,
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
        super().__init__(chosen, spec)
        self.sampler = Uniform() if sampler is None else sampler
        self.rng = np.random.Generator(np.random.Philox(checks.seed(seed)))
        self._intake = Intake(spec)

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
        **extras: Any,
    ) -> None:
        """Store one step, or one step of every stream.

        With several streams and no ``stream`` given, every argument has a leading axis [n_streams].
        Arrays may be of any framework; they are copied. Leading axes of length 1 are dropped.

        Args:
            obs: [*obs_shape], what the agent saw.
            action: [*action_shape], what it did.
            reward: what that earned.
            done: whether that terminated the episode, so that there is nothing to bootstrap from.
            truncated: whether the episode was cut off after the step, by a time limit say; where
                ``done`` is set too, ``done`` counts.
            next_obs: [*obs_shape], the observation after the step. It is read only where the step was
                truncated: elsewhere the next ``add`` brings it. A truncated step without it comes
                out of ``sample`` as invalid.
            stream: the stream that the step belongs to.
            **extras: a value for each of the buffer's extras.

        Raises:
            ValueError, TypeError: an argument has the wrong shape, dtype or name; the buffer is as
                it was before.

        >>> buffer = Buffer(100, (2,))
        >>> buffer.add([0.0, 1.0], 1, 0.5, done=False, truncated=True, next_obs=[0.0, 2.0])
        >>> len(buffer)  # the step, and the observation after it
        2
        """
        if stream is None and self.spec.n_streams > 1:
            each = self._intake.each(obs, action, reward, done, truncated, next_obs, extras)
            self._rows.put_each(each)
        else:
            stream = 0 if stream is None else self._checked_stream(stream)
            step = self._intake.one(obs, action, reward, done, truncated, next_obs, extras)
            self._rows.put(stream, step)

    def end_episode(self, stream: int | None = None) -> None:
        """End the episode, if one is open: the next step begins another.

        The newest step, unless it was terminated or truncated, becomes one without a known successor.

        Args:
            stream: the stream whose episode ends; None for all of them.
        """
        for each in self._checked_streams(stream):
            self._rows.ring.end_episode(each)

    def add_empty(self, stream: int | None = None) -> None:
        """End the episode, and leave n_frames - 1 rows of zeros that the next one begins with.

        The newest step, unless it was terminated or truncated, becomes one without a known successor.

        Args:
            stream: the stream whose episode ends; None for all of them.
        """
        for each in self._checked_streams(stream):
            self._rows.ring.end_episode(each)
            for _ in range(self.n_frames - 1):
                self._rows.put_idle(each, BLANK, {})

    def add_from_buffer(self, other: "Buffer") -> None:
        """Append all rows of another buffer, oldest first; it may be on another backend.

        Its streams go to the streams of the same number; a buffer of one stream takes them one after
        another. No sample joins a row of one buffer to a row of the other: the episode that was open
        in either ends there.

        Raises:
            TypeError, ValueError: ``other`` is no Buffer, or its rows look different.
        """
        self._check_same_rows(other)
        for source in range(other.n_streams):
            self._rows.put_stream(source if self.n_streams > 1 else 0, other._rows, source)

    def clear(self) -> None:
        """Forget all rows. The generator goes on where it is."""
        self._rows.clear()
        self.sampler.clear()

    def update_priorities(self, indices: Any, td: Any) -> None:
        """Tell the sampler the temporal-difference errors of rows.

        Rows that were overwritten since they were drawn are passed over.

        Args:
            indices: [B], ``Batch.indices``.
            td: [B] or [B, 1], errors; their absolute values are the priorities.

        Raises:
            ValueError, TypeError: lengths differ, or an error is not finite.
        """
        which = checks.vector("indices", indices, "int64")
        priorities = np.abs(checks.vector("td", td, "float64"))
        if len(priorities) != len(which):
            raise ValueError(f"td has {len(priorities)} errors; expected {len(which)}, as of indices")
        if not np.all(priorities <= LARGEST_PRIORITY):  # NaN is not
            raise ValueError("td holds values that are not finite in float32; expected finite errors")
        rows, stored = self._rows.ring.current_rows(which)
        self.sampler.update(rows[stored], priorities[stored])

    # Sampling

    def sample(self, batch_size: int, *, flatten: bool = True) -> Batch:
        """Draw a minibatch.

        Args:
            batch_size: rows to draw, at least 1.
            flatten: whether the frames of a state form one axis [B, n_frames * prod(obs_shape)], or
                keep theirs: [B, n_frames, *obs_shape].

        Raises:
            NotEnoughTransitions: more rows than can be drawn; it tells both numbers.
        """
        plan, indices = self._drawn(batch_size)
        return self._rows.storage.batch(plan, flatten).batch(indices)

    def sample_sequences(self, batch_size: int, length: int, *, flatten: bool = True) -> Batch:
        """Draw runs of ``length`` consecutive rows of a stream, uniformly and all different.

        A run may go on into the next episode; each of its rows is valid or not as in :meth:`sample`.

        Args:
            batch_size: runs to draw, at least 1.
            length: rows in each, at least 1.
            flatten: as in :meth:`sample`.

        Returns:
            A batch with a time axis: [B, length, ...].

        Raises:
            NotEnoughTransitions: more runs than can be drawn; it tells both numbers.
        """
        batch_size = checks.integer("batch_size", batch_size, 1)
        length = checks.integer("length", length, 1)
        streams, firsts = draw_runs(self._rows.ring, self.rng, batch_size, span=length)
        serials = (firsts[:, None] + np.arange(length)).reshape(-1)
        plan = self._rows.plan(np.repeat(streams, length), serials)
        gathered = self._rows.storage.batch(plan, flatten)

        def timed(array: Array) -> Array:
            return self.backend.xp.reshape(array, (batch_size, length, *array.shape[1:]))

        return gathered.each(timed).batch(self._rows.ring.indices(streams, firsts))

    def as_dataset(
        self, batch_size: int, n_batches: int | None = None, *, flatten: bool = True
    ) -> Iterable[Batch]:
        """Return an iterable of minibatches, each drawn when it is asked for.

        On torch it counts as a ``torch.utils.data.IterableDataset``: pass it to a DataLoader with
        ``batch_size=None``, as its items are batches, and with ``num_workers=0``. A worker process that
        iterates over it gets a RuntimeError.

        Args:
            batch_size: rows of each.
            n_batches: how many one iteration has; None for no end.
            flatten: as in :meth:`sample`.

        >>> buffer = Buffer(8, (2,))
        >>> for step in range(5):
        ...     buffer.add([step, step], action=0, reward=1.0, done=False)
        >>> [len(batch) for batch in buffer.as_dataset(3, n_batches=2)]
        [3, 3]
        """
        batch_size = checks.integer("batch_size", batch_size, 1)
        if n_batches is not None:
            n_batches = checks.integer("n_batches", n_batches, 1)
        return Minibatches(self, batch_size, n_batches, flatten)

    def draw(self, batch_size: int) -> tuple[Params, Plan | Packed, np.ndarray]:
        """Draw what :meth:`sample` makes a batch of, for a compiled function that does so itself.

        Returns:
            What :func:`trifolium.replay.assemble.assemble` takes, and the batch's indices. On a device
            with a memory of its own the first are the stored columns themselves: they are to be read
            at once, and neither written nor kept. On the host their rows are gathered already.
        """
        plan, indices = self._drawn(batch_size)
        return *self._rows.storage.material(plan), indices

    # Helpers

    def _drawn(self, batch_size: int) -> tuple[Plan, np.ndarray]:
        batch_size = checks.integer("batch_size", batch_size, 1)
        drawn = self.sampler.draw(self._rows, self.rng, batch_size)
        plan = self._rows.plan(drawn.streams, drawn.serials, drawn.weights)
        return plan, self._rows.ring.indices(drawn.streams, drawn.serials)

    def _checked_streams(self, stream: int | None) -> Sequence[int]:
        return range(self.n_streams) if stream is None else [self._checked_stream(stream)]

    def _check_same_rows(self, other: Any) -> None:
        if not isinstance(other, Buffer):
            raise TypeError(f"other is a {type(other).__name__}; expected a Buffer")
        for option in ("obs_shape", "obs_dtype", "action_shape", "extras"):
            theirs, ours = getattr(other.spec, option), getattr(self.spec, option)
            if theirs != ours:
                raise ValueError(f"other has {option}={theirs!r}; expected {ours!r}, as here")
        self._rows.check_actions(other._rows)
        if self.n_streams not in (1, other.n_streams):
            raise ValueError(
                f"other has n_streams={other.n_streams}; expected {self.n_streams}, as here"
            )
