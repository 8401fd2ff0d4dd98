"""One update of an algorithm: loss, gradient, Adam, and the target network, as a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from trifolium.backend import Array, Backend, Differentiable, Optimizer, Params
from trifolium.models import losses
from trifolium.models.layers import Random
from trifolium.models.networks import Network
from trifolium.replay import Batch

__all__ = ["Algorithm", "Drawn", "Learned", "Progress", "Update"]


class Drawn(NamedTuple):
    """The random numbers of one update.

    Attributes:
        noise: [3, size], that of noisy layers: for the network, for the target network, and for the
            choice of the next action; None without noisy layers.
        fractions: what an algorithm draws besides.
    """

    noise: Array | None = None
    fractions: tuple[Array, ...] = ()

    def noise_of(self, evaluation: int) -> Array | None:
        """Return the noise of one of the three evaluations."""
        return None if self.noise is None else self.noise[evaluation, :]


class Algorithm(Protocol):
    """What an algorithm is made of: pure functions over the array API around a network."""

    @property
    def network(self) -> Network:
        """What is trained."""
        ...

    def draw(self, rng: Random, batch_size: int) -> tuple[Array, ...]:
        """Draw the ``fractions`` of one update."""
        ...

    def action_values(self, xp: Any, params: Params, noise: Array | None, states: Array) -> Array:
        """Return the action values [B, A] of ``states`` [B, n], for acting."""
        ...

    def targets(
        self, xp: Any, params: Params, target_params: Params, batch: Batch, drawn: Drawn
    ) -> Array:
        """Return what the network is to learn, [B, n]; its gradient is not taken."""
        ...

    def losses(
        self, xp: Any, params: Params, batch: Batch, targets: Array, drawn: Drawn
    ) -> tuple[Array, Array]:
        """Return the loss and the temporal-difference error of each row, both [B, 1]."""
        ...


class Learned(NamedTuple):
    """All that an update changes.

    Attributes:
        params: the network's.
        target: the target network's.
        optimizer: Adam's state.
    """

    params: Params
    target: Params
    optimizer: Params

    def to_numpy(self, backend: Backend) -> dict[str, np.ndarray]:
        """Return all arrays on the host, named ``<group>.<name>``."""
        return {
            f"{group}.{name}": backend.to_numpy(value)
            for group, params in self._asdict().items()
            for name, value in params.items()
        }

    def from_numpy(self, backend: Backend, arrays: Mapping[str, np.ndarray]) -> Learned:
        """Return what :meth:`to_numpy` returned on the device, each array in the dtype it has here."""
        groups = (
            {
                name: backend.xp.astype(backend.from_numpy(arrays[f"{group}.{name}"]), value.dtype)
                for name, value in params.items()
            }
            for group, params in self._asdict().items()
        )
        return Learned(*groups)


class Progress(NamedTuple):
    """How far a learner is.

    Attributes:
        learned: what its updates changed.
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
        backend: whose arrays it works on.
        algorithm: what is minimised.
        optimizer: how gradients change parameters.
        max_grad_norm: gradients longer than that are scaled down to it; None to leave them.
        polyak: the part by which the target network moves towards the network; None to leave it.
    """

    backend: Differentiable
    algorithm: Algorithm
    optimizer: Optimizer
    max_grad_norm: float | None
    polyak: float | None
    _gradient: Callable[..., tuple[Array, Array, Params]] = field(init=False, repr=False, compare=False)

    def __call__(
        self, learned: Learned, batch: Batch, drawn: Drawn, learning_rate: Any
    ) -> tuple[Learned, Array, Array]:
        """Return what is learned then, the loss [], and the temporal-difference errors [B, 1].

        What was given as ``learned`` must not be used again: a backend may update it in place.
        """
        backend = self.backend
        params, target, optimizer = learned
        batch = _with_float_states(backend.xp, batch)
        targets = self.algorithm.targets(backend.xp, params, target, batch, drawn)
        loss, errors, grads = self._gradient(params, batch, targets, drawn)
        if self.max_grad_norm is not None:
            grads = losses.clipped(backend.xp, grads, self.max_grad_norm)
        params, optimizer = self.optimizer.step(params, grads, optimizer, learning_rate)
        if self.polyak is not None:
            target = {name: old + self.polyak * (params[name] - old) for name, old in target.items()}
        return Learned(params, target, optimizer), loss, errors

    def __post_init__(self) -> None:
        object.__setattr__(self, "_gradient", self.backend.value_and_grad(self._loss))

    def _loss(
        self, xp: Any, params: Params, batch: Batch, targets: Array, drawn: Drawn
    ) -> tuple[Array, Array]:
        each, errors = self.algorithm.losses(xp, params, batch, targets, drawn)
        return losses.weighted_mean(xp, each, batch.valid, batch.weights), errors


def _with_float_states(xp: Any, batch: Batch) -> Batch:
    """Return ``batch`` with states and next states in float32, as networks take them."""
    return Batch(
        xp.astype(batch.states, xp.float32, copy=False),
        batch.actions,
        batch.rewards,
        xp.astype(batch.next_states, xp.float32, copy=False),
        batch.dones,
        batch.valid,
        batch.discounts,
        batch.weights,
        batch.indices,
        batch.extras,
    )
