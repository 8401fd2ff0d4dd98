"""IQN: implicit quantile networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from trifolium.backend import Array, Params
from trifolium.models import losses, networks
from trifolium.models.learner import Learner
from trifolium.replay import checks
from trifolium.replay.assemble import Gathered

__all__ = ["IQN"]


class IQN(Learner):
    """Implicit quantile network (Dabney et al. 2018) over a multilayer perceptron.

    The network gives the quantile of the return at any fraction tau. One update moves N quantiles of
    the action taken towards N' samples of ``r + gamma * Z_target(s', a*)`` by the quantile Huber loss;
    a* has the highest mean of K quantiles.

    Deviations from the paper: with ``double`` the network itself chooses a*, not the target network;
    acting takes the K fractions in the middle of K equal parts instead of random ones, so that the
    same state gives the same action.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action.
        quantiles: N, fractions for which the network is moved.
        target_quantiles: N', samples of the target.
        action_quantiles: K, fractions over which action values are means.
        cosines: in the embedding of a fraction.
        kappa: where Huber's loss turns from quadratic to linear.
        double: whether the network, not the target network, chooses the next action.
        **options: as for :class:`~trifolium.models.learner.Learner`: hidden, learning_rate,
            adam_epsilon, max_grad_norm, batch_size, gamma, target_update, polyak; backend, device,
            seed, n_frames, and those of :class:`~trifolium.Buffer`.

    >>> model = IQN(input_size=4, action_space=2, memory_size=1000, batch_size=32, seed=0)
    >>> for step in range(100):
    ...     obs = np.full(4, step / 100)
    ...     model.memory.add(obs, model.take_action(obs), reward=1.0, done=step % 10 == 9)
    >>> bool(model.train_step() > 0.0)
    True
    """

    def __init__(
        self,
        *args: Any,
        quantiles: int = 8,
        target_quantiles: int = 8,
        action_quantiles: int = 32,
        cosines: int = 64,
        kappa: float = 1.0,
        double: bool = False,
        **options: Any,
    ) -> None:
        self.quantiles = checks.integer("quantiles", quantiles, 1)
        self.target_quantiles = checks.integer("target_quantiles", target_quantiles, 1)
        self.action_quantiles = checks.integer("action_quantiles", action_quantiles, 1)
        self.cosines = checks.integer("cosines", cosines, 1)
        self.kappa = checks.positive("kappa", kappa)
        self.double = double
        super().__init__(*args, **options)

    def _initial_params(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return networks.init_implicit_quantiles(
            rng, self.state_size, self.hidden, self.action_space, self.cosines
        )

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        counts = (self.quantiles, self.target_quantiles, self.action_quantiles)
        return tuple(rng.random((self.batch_size, count), np.float32) for count in counts)

    def _action_values(self, params: Params, states: np.ndarray) -> np.ndarray:
        count = self.action_quantiles
        middles = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)
        fractions = np.broadcast_to(middles, (len(states), count))
        found: np.ndarray = networks.implicit_quantiles(np, params, states, fractions).mean(axis=1)
        return found

    def _targets(
        self, xp: Any, params: Params, target_params: Params, batch: Gathered, drawn: tuple[Array, ...]
    ) -> Array:
        _, target_fractions, action_fractions = drawn
        chooser = params if self.double else target_params
        values = networks.implicit_quantiles(xp, chooser, batch.next_states, action_fractions)
        best = xp.argmax(xp.mean(values, axis=1), axis=1, keepdims=True)
        quantiles = networks.implicit_quantiles(xp, target_params, batch.next_states, target_fractions)
        return batch.rewards + batch.discounts * (1.0 - batch.dones) * _of_action(xp, quantiles, best)

    def _losses(
        self, xp: Any, params: Params, batch: Gathered, targets: Array, drawn: tuple[Array, ...]
    ) -> tuple[Array, Array]:
        fractions = drawn[0]
        values = networks.implicit_quantiles(xp, params, batch.states, fractions)
        quantiles = _of_action(xp, values, batch.actions)
        each = losses.quantile_huber(xp, quantiles, fractions, targets, self.kappa)
        return each, each


def _of_action(xp: Any, quantiles: Array, actions: Array) -> Array:
    """Return the quantiles [B, N] of ``actions`` [B, 1] out of [B, N, A]."""
    batch, count, size = quantiles.shape
    every = xp.reshape(quantiles, (batch * count, size))
    repeated = xp.reshape(xp.broadcast_to(actions, (batch, count)), (batch * count, 1))
    return xp.reshape(losses.chosen(xp, every, repeated), (batch, count))
