"""From drawn rows to a batch: what the host works out, and what the backend gathers."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from trifolium.backend import Array, Backend, Params
from trifolium.replay.batch import Batch

__all__ = ["Gathered", "Plan", "assemble", "assembler"]


class Plan(NamedTuple):
    """What a backend needs to make a batch, as host arrays; N rows.

    Attributes:
        frames: [N, n_frames] int, rows of each state's frames, oldest first.
        kept: [N, n_frames] bool, False where zeros replace a frame; None where nothing is replaced.
        next_frames, next_kept: likewise of each next state.
        actions: [N, ...], as they come out.
        scalars: [5, N] float32: rewards, dones, valid, discounts, weights.
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
    rewards, dones, valid, discounts, weights = (plan.scalars[row, :, None] for row in range(5))
    newest = plan.frames[:, -1]
    stacked = partial(_stacked, backend, columns["obs"], flatten=flatten)
    return Gathered(
        states=stacked(plan.frames, plan.kept),
        actions=plan.actions,
        rewards=rewards,
        next_states=stacked(plan.next_frames, plan.next_kept),
        dones=dones,
        valid=valid,
        discounts=discounts,
        weights=weights,
        extras={
            name: backend.take(column, newest) for name, column in columns.items() if name != "obs"
        },
    )


@cache  # backends are compared by identity, and get_backend returns one object per name and device
def assembler(backend: Backend, *, flatten: bool) -> Callable[[Params, Plan], Gathered]:
    """Return :func:`assemble` compiled for a backend; the same function for every buffer on it."""

    def run(columns: Params, plan: Plan) -> Gathered:
        return assemble(backend, columns, plan, flatten=flatten)

    return backend.compile(run)


def _stacked(
    backend: Backend, observations: Array, frames: Array, kept: Array | None, *, flatten: bool
) -> Array:
    xp = backend.xp
    shape = observations.shape[1:]
    found = backend.take(observations, xp.reshape(frames, (-1,)))
    if kept is not None:
        broadcast: Any = xp.reshape(kept, (-1, *(1,) * len(shape)))
        found = xp.where(broadcast, found, xp.zeros_like(found))
    count, n_frames = frames.shape
    return xp.reshape(found, (count, -1) if flatten else (count, n_frames, *shape))
