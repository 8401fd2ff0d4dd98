"""From drawn rows to a batch: what the host works out, and what the backend gathers."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from trifolium.backend import Array, Backend, Params
from trifolium.replay.batch import Batch

__all__ = ["Gathered", "Plan", "assemble", "assembler"]


class Plan(NamedTuple):
    """What a backend needs to make a batch, as host arrays; N rows.

    Attributes:
        frames: [N * n_frames] int, rows of each state's frames, oldest first.
        kept: [N * n_frames] bool, False where zeros replace a frame; None where nothing is replaced.
        next_frames, next_kept: likewise of each next state.
        actions: [N, ...], as they come out.
        scalars: [5, N, 1] float32: rewards, dones, valid, discounts, weights.
    """

    frames: Array
    kept: Array | None
    next_frames: Array
    next_kept: Array | None
    actions: Array
    scalars: Array


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

    def batch(self, indices: np.ndarray, each: Callable[[Array], Array] = lambda a: a) -> Batch:
        """Return the batch of the rows with these ``indices``, ``each`` array passed through that."""
        return Batch(
            states=each(self.states),
            actions=each(self.actions),
            rewards=each(self.rewards),
            next_states=each(self.next_states),
            dones=each(self.dones),
            valid=each(self.valid),
            discounts=each(self.discounts),
            weights=each(self.weights),
            indices=indices,
            extras={name: each(array) for name, array in self.extras.items()},
        )


def assemble(backend: Backend, columns: Params, plan: Plan, *, flatten: bool = True) -> Gathered:
    """Gather a batch. It can be traced, so a model may make it part of a compiled update.

    Args:
        backend: owner of the columns.
        columns: "obs" and the extras, each [capacity, ...].
        plan: on the backend's device.
        flatten: whether states are [N, n_frames * prod(obs_shape)] instead of
            [N, n_frames, *obs_shape].
    """
    rewards, dones, valid, discounts, weights = backend.unstack(plan.scalars)
    count = plan.actions.shape[0]
    n_frames = plan.frames.shape[0] // count
    extras = {}
    if len(columns) > 1:
        newest = plan.frames[n_frames - 1 :: n_frames]
        extras = {
            name: backend.take(column, newest) for name, column in columns.items() if name != "obs"
        }
    observations = columns["obs"]
    lead = (count,) if flatten else (count, n_frames)
    return Gathered(
        states=_stacked(backend, observations, plan.frames, plan.kept, lead),
        actions=plan.actions,
        rewards=rewards,
        next_states=_stacked(backend, observations, plan.next_frames, plan.next_kept, lead),
        dones=dones,
        valid=valid,
        discounts=discounts,
        weights=weights,
        extras=extras,
    )


@cache  # backends are compared by identity, and get_backend returns one object per name and device
def assembler(backend: Backend, *, flatten: bool) -> Callable[[Params, Plan], Gathered]:
    """Return :func:`assemble` compiled for a backend; the same function for every buffer on it."""

    def run(columns: Params, plan: Plan) -> Gathered:
        return assemble(backend, columns, plan, flatten=flatten)

    return backend.compile(run)


def _stacked(
    backend: Backend, observations: Array, frames: Array, kept: Array | None, lead: tuple[int, ...]
) -> Array:
    """Gather ``frames`` under the leading axes ``lead``: [N] to flatten, or [N, n_frames]."""
    xp = backend.xp
    shape = observations.shape[1:]
    found = backend.take(observations, frames)
    if kept is not None:
        found = xp.where(xp.reshape(kept, (-1, *(1,) * len(shape))), found, xp.zeros_like(found))
    wanted = (*lead, -1) if len(lead) == 1 else (*lead, *shape)
    if len(wanted) == found.ndim and lead[0] == found.shape[0]:
        return found  # one frame, one axis: it is that shape already
    return xp.reshape(found, wanted)
