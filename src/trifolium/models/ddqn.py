"""DDQN: deep Q-learning with a double estimator."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trifolium.backend import Array, Backend, Params
from trifolium.models import adam, losses, networks
from trifolium.models.base import BaseModel
from trifolium.replay import checks
from trifolium.replay.assemble import Gathered, Plan, assemble

__all__ = ["DDQN"]


class DDQN(BaseModel):
    """Double deep Q-network (van Hasselt et al. 2016) over a multilayer perceptron.

    One update draws a minibatch, moves the action values of the actions taken towards
    ``r + gamma * Q_target(s', argmax_a Q(s', a))`` by one Adam step, and every ``target_update``
    updates copies the network into the target network (Mnih et al. 2015).

    All randomness comes from one host generator, so a seed gives the same weights, the same minibatches
    and, up to rounding, the same losses on every backend. Acting evaluates the network on the host.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action.
        hidden: sizes of the hidden layers.
        learning_rate: of Adam.
        adam_epsilon: added to the denominator of Adam.
        batch_size: rows of a minibatch.
        gamma: discount of one step.
        target_update: updates between two copies into the target network.
        huber_delta: where the loss turns from quadratic to linear; None for a quadratic loss.
        backend, device, seed, n_frames, **memory_options: as for :class:`~trifolium.BaseModel`.

    >>> model = DDQN(input_size=4, action_space=2, memory_size=1000, batch_size=32, seed=0)
    >>> for step in range(100):
    ...     obs = np.full(4, step / 100)
    ...     model.memory.add(obs, model.take_action(obs), reward=1.0, done=step % 10 == 9)
    >>> bool(model.train_step() > 0.0)
    True
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
        batch_size: int = 128,
        gamma: float = 0.99,
        target_update: int = 50,
        huber_delta: float | None = None,
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
        _must_train(self.backend)
        self.learning_rate = checks.positive("learning_rate", learning_rate)
        self.adam_epsilon = checks.positive("adam_epsilon", adam_epsilon)
        self.batch_size = checks.integer("batch_size", batch_size, 1)
        self.target_update = checks.integer("target_update", target_update, 1)
        self.huber_delta = None if huber_delta is None else checks.positive("huber_delta", huber_delta)
        sizes = [self.state_size, *checks.shape("hidden", hidden), self.action_space]
        self._params = self._on_device(networks.init_mlp(self.rng, sizes))
        self._target = self._copied(self._params)
        self._optimizer = adam.init(self.backend.xp, self._params)
        self._updates = 0
        self._host_params: Params | None = None
        self._update = self.backend.compile(self._make_update(), donate=(0, 2))

    # Acting

    def take_action(self, state: Any) -> int:
        """Return a random action with probability epsilon, else the one with the highest value."""
        if self.epsilon > 0.0 and self.rng.random() < self.epsilon:
            return int(self.rng.integers(self.action_space))
        return int(np.argmax(self.action_values(state)))

    def action_values(self, state: Any) -> np.ndarray:
        """Return the value of each action in ``state``: [action_space] on the host."""
        inputs = self.flat_state(state)[None, :]
        values: np.ndarray = networks.mlp(np, self._acting_params(), inputs)
        return values[0]

    # Learning

    def train_step(self) -> Array:
        """Make one update and return its loss: shape (), on the backend's device.

        While the memory can't fill a minibatch nothing is learned, and the loss is 0.
        """
        if self.memory.drawable < self.batch_size:
            return super().train_step()
        columns, plan, _ = self.memory.draw(self.batch_size)
        self._params, self._optimizer, loss = self._update(
            self._params, self._target, self._optimizer, columns, plan, self.learning_rate
        )
        self._host_params = None
        self._updates += 1
        if self._updates % self.target_update == 0:
            self._target = self._copied(self._params)
        return loss

    def _make_update(self) -> Any:
        """Return the update as a pure function, so that a backend can compile it as one."""
        backend, xp = self.backend, self.backend.xp
        adam_epsilon, huber_delta = self.adam_epsilon, self.huber_delta

        def loss_of(
            xp: Any, params: Params, batch: Gathered, states: Array, target: Array
        ) -> tuple[Array, Array]:
            q_tm1 = networks.mlp(xp, params, states)
            errors = losses.chosen(xp, q_tm1, batch.actions) - target
            each = errors * errors if huber_delta is None else losses.huber(xp, errors, huber_delta)
            return losses.weighted_mean(xp, each, batch.valid, batch.weights), errors

        gradient_of = backend.value_and_grad(loss_of)

        def update(
            params: Params,
            target_params: Params,
            optimizer: Params,
            columns: Params,
            plan: Plan,
            learning_rate: float,
        ) -> tuple[Params, Params, Array]:
            batch = assemble(backend, columns, plan)
            states = xp.astype(batch.states, xp.float32)
            next_states = xp.astype(batch.next_states, xp.float32)
            target = losses.double_q_target(
                xp,
                batch.rewards,
                batch.discounts * (1.0 - batch.dones),
                networks.mlp(xp, params, next_states),
                networks.mlp(xp, target_params, next_states),
            )
            loss, _, grads = gradient_of(params, batch, states, target)
            params, optimizer = backend.adam(params, grads, optimizer, learning_rate, adam_epsilon)
            return params, optimizer, loss

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

    def _acting_params(self) -> Params:
        if self._host_params is None:
            self._host_params = {
                name: self.backend.to_numpy(value) for name, value in self._params.items()
            }
        return self._host_params

    def _on_device(self, arrays: dict[str, np.ndarray]) -> Params:
        return {name: self.backend.from_numpy(array) for name, array in arrays.items()}

    def _copied(self, params: Params) -> Params:
        return {name: self.backend.xp.asarray(value, copy=True) for name, value in params.items()}


def _must_train(backend: Backend) -> None:
    if not backend.capabilities.train:
        raise ValueError(f"backend={backend.name!r} takes no gradients, so nothing can learn on it")


def _group(arrays: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    prefix = f"{group}."
    return {
        name.removeprefix(prefix): array.astype(np.float32)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
