"""Learner: what DDQN and IQN share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from trifolium.backend import Array, Backend, Params
from trifolium.models import adam, losses
from trifolium.models.base import BaseModel
from trifolium.replay import Uniform, checks
from trifolium.replay.assemble import Gathered, Plan, assemble

__all__ = ["Learner"]


class Learner(BaseModel):
    """A model that learns action values off-policy, from minibatches, with a target network.

    An algorithm is four pure functions; this class brings the rest: weights, one compiled update with
    Adam, the target network, priorities, epsilon-greedy acting on the host, and files.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action.
        hidden: sizes of the hidden layers.
        learning_rate: of Adam.
        adam_epsilon: added to the denominator of Adam.
        max_grad_norm: gradients longer than that are scaled down to it; None to leave them.
        batch_size: rows of a minibatch.
        gamma: discount of one step.
        target_update: updates between two copies into the target network.
        polyak: instead of copies, the part by which the target network moves towards the network
            with every update; None for copies.
        backend, device, seed, n_frames, **memory_options: as for :class:`~trifolium.BaseModel`.
    """

    def __init__(
        self,
        input_size: int | Sequence[int],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.1,
        *,
        hidden: Sequence[int] = (120, 84),
        learning_rate: float = 2.5e-4,
        adam_epsilon: float = 1e-8,
        max_grad_norm: float | None = None,
        batch_size: int = 128,
        gamma: float = 0.99,
        target_update: int = 50,
        polyak: float | None = None,
        backend: str | Backend = "numpy",
        device: Any = None,
        seed: int | None = None,
        n_frames: int = 1,
        **memory_options: Any,
    ) -> None:
        super().__init__(
            input_size,
            action_space,
            memory_size,
            epsilon,
            backend=backend,
            device=device,
            seed=seed,
            n_frames=n_frames,
            gamma=gamma,
            **memory_options,
        )
        if not self.backend.capabilities.train:
            name = self.backend.name
            raise ValueError(f"backend={name!r} takes no gradients, so nothing can learn on it")
        self.hidden = checks.shape("hidden", hidden)
        self.learning_rate = checks.positive("learning_rate", learning_rate)
        self.adam_epsilon = checks.positive("adam_epsilon", adam_epsilon)
        self.max_grad_norm = checks.optional(checks.positive, "max_grad_norm", max_grad_norm)
        self.batch_size = checks.integer("batch_size", batch_size, 1)
        self.target_update = checks.integer("target_update", target_update, 1)
        self.polyak = checks.optional(checks.fraction, "polyak", polyak)
        self._params = self._on_device(self._initial_params(self.rng))
        self._target = self._copied(self._params)
        self._optimizer = adam.init(self.backend.xp, self._params)
        self._updates = 0
        self._host_params: Params | None = None
        self._update = self.backend.compile(self._make_update(), donate=(0, 2))

    # The algorithm: pure functions, whose randomness is drawn on the host and passed in

    @abstractmethod
    def _initial_params(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters of the network."""

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:  # noqa: ARG002
        """Draw the random numbers of one update."""
        return ()

    @abstractmethod
    def _targets(
        self, xp: Any, params: Params, target_params: Params, batch: Gathered, drawn: tuple[Array, ...]
    ) -> Array:
        """Return what the network is to learn, [B, n]; its gradient is not taken."""

    @abstractmethod
    def _losses(
        self, xp: Any, params: Params, batch: Gathered, targets: Array, drawn: tuple[Array, ...]
    ) -> tuple[Array, Array]:
        """Return the loss and the temporal-difference error of each row, both [B, 1]."""

    @abstractmethod
    def _action_values(self, params: Params, states: np.ndarray) -> np.ndarray:
        """Return the action values [B, action_space] of ``states`` [B, state_size], on the host."""

    # Acting

    def take_action(self, state: Any) -> int:
        """Return a random action with probability epsilon, else the one with the highest value."""
        if self.epsilon > 0.0 and self.rng.random() < self.epsilon:
            return int(self.rng.integers(self.action_space))
        return int(np.argmax(self.action_values(state)))

    def action_values(self, state: Any) -> np.ndarray:
        """Return the value of each action in ``state``: [action_space] on the host."""
        if self._host_params is None:
            self._host_params = {
                name: self.backend.to_numpy(value) for name, value in self._params.items()
            }
        return self._action_values(self._host_params, self.flat_state(state)[None, :])[0]

    # Learning

    def train_step(self) -> Array:
        """Make one update and return its loss: shape (), on the backend's device.

        While the memory can't fill a minibatch nothing is learned, and the loss is 0.
        """
        if self.memory.drawable < self.batch_size:
            return super().train_step()
        columns, plan, indices = self.memory.draw(self.batch_size)
        self._params, self._target, self._optimizer, loss, errors = self._update(
            self._params,
            self._target,
            self._optimizer,
            columns,
            plan,
            self._draw(self.rng),
            self.learning_rate,
        )
        self._host_params = None
        self._updates += 1
        if self.polyak is None and self._updates % self.target_update == 0:
            self._target = self._copied(self._params)
        if not isinstance(self.memory.sampler, Uniform):
            self.memory.update_priorities(indices, errors)
        return loss

    def _make_update(self) -> Any:
        """Return the update as a pure function, so that a backend can compile it as one."""
        backend, xp = self.backend, self.backend.xp

        def loss_of(
            xp: Any, params: Params, batch: Gathered, targets: Array, drawn: tuple[Array, ...]
        ) -> tuple[Array, Array]:
            each, errors = self._losses(xp, params, batch, targets, drawn)
            return losses.weighted_mean(xp, each, batch.valid, batch.weights), errors

        gradient_of = backend.value_and_grad(loss_of)

        def update(
            params: Params,
            target: Params,
            optimizer: Params,
            columns: Params,
            plan: Plan,
            drawn: tuple[Array, ...],
            learning_rate: float,
        ) -> tuple[Params, Params, Params, Array, Array]:
            batch = assemble(backend, columns, plan).with_float_states(xp)
            targets = self._targets(xp, params, target, batch, drawn)
            loss, errors, grads = gradient_of(params, batch, targets, drawn)
            if self.max_grad_norm is not None:
                grads = losses.clipped(xp, grads, self.max_grad_norm)
            params, optimizer = backend.adam(params, grads, optimizer, learning_rate, self.adam_epsilon)
            if self.polyak is not None:
                target = {
                    name: old + self.polyak * (params[name] - old) for name, old in target.items()
                }
            return params, target, optimizer, loss, errors

        return update

    # Files

    def state(self) -> dict[str, np.ndarray]:
        """Return the network, the target network, the optimizer and the count of updates."""
        groups = {"params": self._params, "target": self._target, "adam": self._optimizer}
        arrays = {
            f"{group}.{name}": self.backend.to_numpy(value)
            for group, params in groups.items()
            for name, value in params.items()
        }
        return arrays | {"updates": np.array(self._updates)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take up what :meth:`state` returned."""
        self._params = self._on_device(_group(state, "params"))
        self._target = self._on_device(_group(state, "target"))
        self._optimizer = self._on_device(_group(state, "adam"))
        self._updates = int(state["updates"])
        self._host_params = None

    # Helpers

    def _on_device(self, arrays: dict[str, np.ndarray]) -> Params:
        return {name: self.backend.from_numpy(array) for name, array in arrays.items()}

    def _copied(self, params: Params) -> Params:
        return {name: self.backend.xp.asarray(value, copy=True) for name, value in params.items()}


def _group(arrays: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    prefix = f"{group}."
    return {
        name.removeprefix(prefix): array.astype(np.float32)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
