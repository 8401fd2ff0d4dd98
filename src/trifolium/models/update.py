"""One update of an algorithm: loss, gradient, optimizer, and target network, as a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from trifolium._checks import dtype_name
from trifolium.backend import AnyArray, Backend, Differentiable, Optimizer, Params
from trifolium.models import losses, nested
from trifolium.models.algorithm import Algorithm, Randomness
from trifolium.models.saved import placeholder
from trifolium.replay import Batch
from trifolium.replay.batch import map_tree

__all__ = ["Learned", "LearnerState", "Update"]

_KEPT = "statistics"


class Learned(NamedTuple):
    """The arrays that an update changes.

    Attributes:
        params: the network's.
        target: the target network's.
        optimizer: the optimizer's state: arrays and numbers in nested dicts, tuples and lists.
        statistics: arrays of the network other than parameters, such as the running means of a
            normalisation; the target network has no others. Empty for trifolium's own networks.
    """

    params: Params
    target: Params
    optimizer: Any
    statistics: Params

    def to_numpy(self, backend: Backend) -> dict[str, np.ndarray]:
        """Return all arrays on the host, named ``<group>.<name>``."""
        return {
            name: backend.to_numpy(leaf) if backend.is_array(leaf) else np.asarray(leaf)
            for name, leaf in nested.leaves(self)
        }

    def placeholders(self, backend: Backend) -> dict[str, np.ndarray]:
        """Return arrays of the names, shapes and dtypes of :meth:`to_numpy`, which take no memory."""
        return {name: _placeholder(backend, leaf) for name, leaf in nested.leaves(self)}

    def from_numpy(self, backend: Backend, arrays: Mapping[str, np.ndarray]) -> Learned:
        """Convert the arrays that :meth:`to_numpy` returned to the device, in the dtypes of this state.

        Statistics that ``arrays`` lacks stay as they are: files of earlier versions have none.
        """

        def on_device(name: str, leaf: Any) -> Any:
            if name.startswith(f"{_KEPT}.") and name not in arrays:
                return leaf
            if not backend.is_array(leaf):
                return type(leaf)(arrays[name].item())
            return backend.xp.astype(backend.from_numpy(arrays[name]), leaf.dtype, copy=False)

        learned: Learned = nested.mapped(on_device, self)
        return learned


class LearnerState(NamedTuple):
    """The state of a learner that changes with its updates and actions.

    Attributes:
        learned: the arrays that updates change.
        actions: taken so far, which a schedule of epsilon goes by.
        updates: made so far, which a schedule of the learning rate goes by.
    """

    learned: Learned
    actions: int
    updates: int


@dataclass(frozen=True)
class Update:
    """The update of ``algorithm`` on ``backend``; it can be traced.

    Attributes:
        backend: the backend of the arrays.
        algorithm: the algorithm, with the network in evaluation mode, for acting and targets.
        training: the same around the network as it is trained: with dropout, and with running
            statistics that follow the minibatches, if it has such layers.
        optimizer: how gradients change parameters.
        max_grad_norm: gradients longer than that are scaled down to it; None to leave them.
        polyak: the part by which the target network moves towards the network; None to leave it.
    """

    backend: Differentiable
    algorithm: Algorithm
    training: Algorithm
    optimizer: Optimizer
    max_grad_norm: float | None
    polyak: float | None
    _gradient: Callable[..., tuple[AnyArray, AnyArray, Params]] = field(
        init=False, repr=False, compare=False
    )

    def __call__(
        self, learned: Learned, batch: Batch, random: Randomness, learning_rate: Any
    ) -> tuple[Learned, AnyArray, AnyArray]:
        """Return the new state, the loss [], and the temporal-difference errors [B, 1].

        ``learned`` must not be used again: a backend may update it in place.
        """
        backend = self.backend
        params, target, optimizer, statistics = learned
        batch = _with_float_states(backend.xp, batch)
        targets = self.algorithm.targets(
            backend.xp, params | statistics, target | statistics, batch, random
        )
        loss, errors, grads = self._gradient(params, statistics, batch, targets, random)
        if self.max_grad_norm is not None:
            grads = losses.clipped(backend.xp, grads, self.max_grad_norm)
        params, optimizer = self.optimizer.step(params, grads, optimizer, learning_rate)
        if self.polyak is not None:
            target = {name: old + self.polyak * (params[name] - old) for name, old in target.items()}
        return Learned(params, target, optimizer, statistics), loss, errors

    def __post_init__(self) -> None:
        object.__setattr__(self, "_gradient", self.backend.value_and_grad(self._loss))

    def _loss(
        self,
        xp: Any,
        params: Params,
        statistics: Params,
        batch: Batch,
        targets: AnyArray,
        random: Randomness,
    ) -> tuple[AnyArray, AnyArray]:
        each, errors = self.training.losses(xp, params | statistics, batch, targets, random)
        return losses.weighted_mean(xp, each, batch.valid, batch.weights), errors


def _placeholder(backend: Backend, leaf: Any) -> np.ndarray:
    if not backend.is_array(leaf):
        return np.asarray(leaf)
    try:
        dtype = dtype_name("dtype", leaf.dtype)
    except TypeError:  # one that NumPy lacks
        dtype = "float32"
    return placeholder(tuple(leaf.shape), dtype)


def _with_float_states(xp: Any, batch: Batch) -> Batch:
    """Return ``batch`` with states and next states in float32, as networks take them."""
    states, next_states = batch.states, batch.next_states
    if isinstance(states, dict):
        states, next_states = (_floats(xp, each) for each in (states, next_states))
    else:
        states = xp.astype(states, xp.float32, copy=False)
        next_states = xp.astype(next_states, xp.float32, copy=False)
    return Batch(
        states,
        batch.actions,
        batch.rewards,
        next_states,
        batch.dones,
        batch.valid,
        batch.discounts,
        batch.weights,
        batch.indices,
        batch.extras,
    )


def _floats(xp: Any, states: Any) -> Any:
    return map_tree(lambda array: xp.astype(array, xp.float32, copy=False), states)
