"""From drawn rows to a batch: what the host works out, and what the backend gathers."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from trifolium.backend import Array, Backend, Params
from trifolium.replay.batch import Batch

__all__ = ["Gathered", "Packed", "Plan", "assemble", "assembler", "gathered"]


class Plan(NamedTuple):
    """Which rows make a batch of N, as host arrays.

    Attributes:
        frames: [N * F] int, rows of each state's frames, oldest first. Where the next state is made of
            the same frames, one later: [N * (F + 1)], or [2 * N], all states first, where F is 1.
        kept: [N * F] bool, False where zeros replace a frame; None where nothing is replaced.
        next_frames, next_kept: likewise of each next state; both None where ``frames`` has them.
        actions: [N, ...], as they come out.
        scalars: [5, N, 1] float32: rewards, dones, valid, discounts, weights.
    """

    frames: Array
    kept: Array | None
    next_frames: Array | None
    next_kept: Array | None
    actions: Array
    scalars: Array


class Packed(NamedTuple):
    """The rows of a plan, gathered.

    Attributes:
        frames: [N * F, *obs_shape], or [N * (F + 1), *obs_shape], as in :class:`Plan`.
        next_frames: likewise of each next state; None where ``frames`` has them.
        actions: [N, ...].
        scalars: [5, N, 1] float32.
        extras: name to [N, ...].
    """

    frames: Array
    next_frames: Array | None
    actions: Array
    scalars: Array
    extras: Params


class Gathered(NamedTuple):
    """The native arrays of a batch, in the order of :class:`~trifolium.replay.batch.Batch`."""

    states: Array
    actions: Array
    rewards: Array
    next_states: Array
    dones: Array
    valid: Array
    discounts: Array
    weights: Array
    extras: Params

    @classmethod
    def of(cls, batch: Batch) -> "Gathered":
        """Return the arrays of a batch."""
        return cls(*(getattr(batch, name) for name in cls._fields))

    def with_float_states(self, xp: Any) -> "Gathered":
        """Return the same with states and next states in float32, as networks take them."""
        return self._replace(
            states=xp.astype(self.states, xp.float32, copy=False),
            next_states=xp.astype(self.next_states, xp.float32, copy=False),
        )

    def each(self, function: Callable[[Array], Array]) -> "Gathered":
        """Return the same with every array passed through ``function``."""
        extras = {name: function(array) for name, array in self.extras.items()}
        return Gathered._make([*map(function, self[:-1]), extras])

    def batch(self, indices: np.ndarray) -> Batch:
        """Return the batch of the rows with these ``indices``."""
        return Batch(*self[:-1], indices, self.extras)  # their fields are in the same order


def gathered(xp: Any, take: Callable[[Array, Array], Array], columns: Params, plan: Plan) -> Packed:
    """Gather the rows of a plan.

    Args:
        xp: array namespace of the columns.
        take: ``take(column, rows)`` gathers rows [N] of a column.
        columns: "obs" and the extras, each [capacity, ...].
        plan: what to gather, in arrays that ``take`` accepts.
    """
    observations, extras, next_frames = columns["obs"], {}, None
    if len(columns) > 1:
        newest = _newest(plan)
        extras = {name: take(column, newest) for name, column in columns.items() if name != "obs"}
    if plan.next_frames is not None:
        next_frames = _frames(xp, take(observations, plan.next_frames), plan.next_kept)
    frames = _frames(xp, take(observations, plan.frames), plan.kept)
    return Packed(frames, next_frames, plan.actions, plan.scalars, extras)


def assemble(backend: Backend, columns: Params, plan: Plan | Packed, *, flatten: bool) -> Gathered:
    """Make a batch. It can be traced, so a model may make it part of a compiled update.

    Args:
        backend: owner of the columns.
        columns: "obs" and the extras, each [capacity, ...]; not looked at where ``plan`` is gathered.
        plan: on the backend's device.
        flatten: whether states are [N, n_frames * prod(obs_shape)] instead of
            [N, n_frames, *obs_shape].
    """
    packed = gathered(backend.xp, backend.take, columns, plan) if isinstance(plan, Plan) else plan
    states, next_states = _states(backend.xp, packed, flatten)
    rewards, dones, valid, discounts, weights = backend.xp.unstack(packed.scalars)
    return Gathered(
        states=states,
        actions=packed.actions,
        rewards=rewards,
        next_states=next_states,
        dones=dones,
        valid=valid,
        discounts=discounts,
        weights=weights,
        extras=packed.extras,
    )


def assembler(backend: Backend, *, flatten: bool) -> Callable[[Params, Plan | Packed], Gathered]:
    """Return :func:`assemble` compiled for a backend; the same function for every buffer on it."""
    return _assembler(backend, flatten)  # type: ignore[arg-type]


@cache  # backends are compared by identity, and get_backend returns one object per name and device
def _assembler(backend: Backend, flatten: bool) -> Callable[[Params, Plan | Packed], Gathered]:
    def run(columns: Params, plan: Plan | Packed) -> Gathered:
        return assemble(backend, columns, plan, flatten=flatten)

    return backend.compile(run)


def _newest(plan: Plan) -> Array:
    """Return the row [N] of the newest frame of each state."""
    count = plan.actions.shape[0]
    each = plan.frames.shape[0] // count
    if plan.next_frames is not None:
        return plan.frames[each - 1 :: each]
    return plan.frames[:count] if each == 2 else plan.frames[each - 2 :: each]


def _frames(xp: Any, found: Array, kept: Array | None) -> Array:
    """Return gathered frames [N, *obs_shape], zeros in the place of those that are not ``kept`` [N]."""
    if kept is None:
        return found
    return xp.where(xp.reshape(kept, (-1, *(1,) * (found.ndim - 1))), found, xp.zeros_like(found))


def _states(xp: Any, packed: Packed, flatten: bool) -> tuple[Array, Array]:
    """Return the states and the next states, [N, n_frames, *obs_shape], or flattened [N, -1]."""
    count, frames, next_frames = packed.actions.shape[0], packed.frames, packed.next_frames
    shape = (count, -1) if flatten else (count, -1, *frames.shape[1:])
    if next_frames is None and frames.shape[0] == 2 * count:
        frames, next_frames = frames[:count, ...], frames[count:, ...]
        if flatten and frames.ndim == 2:
            return frames, next_frames  # they are that shape already
    elif next_frames is None:
        both = xp.reshape(frames, (count, -1, *frames.shape[1:]))
        frames, next_frames = both[:, :-1, ...], both[:, 1:, ...]
    return xp.reshape(frames, shape), xp.reshape(next_frames, shape)
