"""DDQN: deep Q-learning with a double estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from trifolium.backend import Array, Params
from trifolium.models import losses, networks
from trifolium.models.learner import Learner
from trifolium.replay import checks
from trifolium.replay.assemble import Gathered

__all__ = ["DDQN"]


class DDQN(Learner):
    """Double deep Q-network (van Hasselt et al. 2016) over a multilayer perceptron.

    One update draws a minibatch and moves the action values of the actions taken towards
    ``r + gamma * Q_target(s', argmax_a Q(s', a))`` by one Adam step.

    All randomness comes from one host generator, so a seed gives the same weights, the same minibatches
    and, up to rounding, the same losses on every backend. Acting evaluates the network on the host.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action.
        dueling: whether the network has separate streams for the state's value and the actions'
            advantages (Wang et al. 2016).
        huber_delta: where the loss turns from quadratic to linear; None for a quadratic loss.
        **options: as for :class:`~trifolium.models.learner.Learner`: hidden, learning_rate,
            adam_epsilon, max_grad_norm, batch_size, gamma, target_update, polyak; backend, device,
            seed, n_frames, and those of :class:`~trifolium.Buffer`.

    >>> model = DDQN(input_size=4, action_space=2, memory_size=1000, batch_size=32, seed=0)
    >>> for step in range(100):
    ...     obs = np.full(4, step / 100)
    ...     model.memory.add(obs, model.take_action(obs), reward=1.0, done=step % 10 == 9)
    >>> bool(model.train_step() > 0.0)
    True
    """

    def __init__(
        self,
        *args: Any,
        dueling: bool = False,
        huber_delta: float | None = None,
        **options: Any,
    ) -> None:
        self.dueling = dueling
        self.huber_delta = checks.optional(checks.positive, "huber_delta", huber_delta)
        super().__init__(*args, **options)

    def _initial_params(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        if self.dueling:
            return networks.init_dueling(rng, self.state_size, self.hidden, self.action_space)
        return networks.init_mlp(rng, [self.state_size, *self.hidden, self.action_space])

    def _q(self, xp: Any, params: Params, states: Array) -> Array:
        return (
            networks.dueling(xp, params, states) if self.dueling else networks.mlp(xp, params, states)
        )

    def _action_values(self, params: Params, states: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._q(np, params, states)
        return found

    def _targets(
        self,
        xp: Any,
        params: Params,
        target_params: Params,
        batch: Gathered,
        drawn: tuple[Array, ...],  # noqa: ARG002
    ) -> Array:
        return losses.double_q_target(
            xp,
            batch.rewards,
            batch.discounts * (1.0 - batch.dones),
            self._q(xp, params, batch.next_states),
            self._q(xp, target_params, batch.next_states),
        )

    def _losses(
        self,
        xp: Any,
        params: Params,
        batch: Gathered,
        targets: Array,
        drawn: tuple[Array, ...],  # noqa: ARG002
    ) -> tuple[Array, Array]:
        errors = losses.chosen(xp, self._q(xp, params, batch.states), batch.actions) - targets
        if self.huber_delta is None:
            return errors * errors, errors
        return losses.huber(xp, errors, self.huber_delta), errors
