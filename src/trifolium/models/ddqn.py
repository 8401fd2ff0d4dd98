"""DDQN: deep Q-learning with a double estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trifolium import _checks as checks
from trifolium.backend import Array, Params
from trifolium.models import losses
from trifolium.models.layers import Random
from trifolium.models.learner import Learner
from trifolium.models.networks import Head, Network, QNetwork, Torso
from trifolium.models.update import Drawn
from trifolium.replay import Batch

__all__ = ["DDQN", "DoubleQLearning"]


@dataclass(frozen=True)
class DoubleQLearning:
    """Double Q-learning (van Hasselt et al. 2016) as pure functions; see docs/ddqn.md.

    Attributes:
        network: states [B, n] to action values [B, A].
        huber_delta: where the loss turns from quadratic to linear; None for a quadratic loss.
    """

    network: Network
    huber_delta: float | None

    def draw(self, rng: Random, batch_size: int) -> tuple[Array, ...]:  # noqa: ARG002
        """Draw nothing."""
        return ()

    def action_values(self, xp: Any, params: Params, noise: Array | None, states: Array) -> Array:
        """Return the action values [B, A]."""
        return self.network.apply(xp, params, noise, states)

    def targets(
        self, xp: Any, params: Params, target_params: Params, batch: Batch, drawn: Drawn
    ) -> Array:
        """Return ``r + gamma^k * Q_target(s', argmax_a Q(s', a))``, [B, 1]."""
        next_states = batch.next_states
        return losses.double_q_target(
            xp,
            batch.rewards,
            batch.discounts * (1.0 - batch.dones),
            self.network.apply(xp, params, drawn.noise_of(2), next_states),
            self.network.apply(xp, target_params, drawn.noise_of(1), next_states),
        )

    def losses(
        self, xp: Any, params: Params, batch: Batch, targets: Array, drawn: Drawn
    ) -> tuple[Array, Array]:
        """Return the losses and the errors of the actions taken, both [B, 1]."""
        values = self.network.apply(xp, params, drawn.noise_of(0), batch.states)
        errors = losses.chosen(xp, values, batch.actions) - targets
        if self.huber_delta is None:
            return errors * errors, errors
        return losses.huber(xp, errors, self.huber_delta), errors


class DDQN(Learner):
    """Double deep Q-network (van Hasselt et al. 2016).

    One update draws a minibatch and moves the action values of the actions taken towards
    ``r + gamma * Q_target(s', argmax_a Q(s', a))`` by one Adam step.

    All randomness comes from one host generator, so a seed gives the same weights, the same minibatches
    and, up to rounding, the same losses on every backend. Acting evaluates the network on the host.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, or a schedule of it.
        huber_delta: where the loss turns from quadratic to linear; None for a quadratic loss.
        **options: as for :class:`~trifolium.models.learner.Learner`: hidden, convolutions,
            input_scale, dueling, noisy, network, learning_rate, adam_epsilon, max_grad_norm,
            batch_size, gamma, target_update, polyak, compile; backend, device, seed, n_frames, and
            those of :class:`~trifolium.Buffer`.

    >>> import numpy as np
    >>> model = DDQN(input_size=4, action_space=2, memory_size=1000, batch_size=32, seed=0)
    >>> for step in range(100):
    ...     obs = np.full(4, step / 100)
    ...     model.memory.add(obs, model.take_action(obs), reward=1.0, done=step % 10 == 9)
    >>> bool(model.train_step() > 0.0)
    True
    """

    _own_options = ("huber_delta",)

    def __init__(self, *args: Any, huber_delta: float | None = None, **options: Any) -> None:
        self.huber_delta = checks.optional(checks.positive, "huber_delta", huber_delta)
        super().__init__(*args, **options)

    def _default_network(self, torso: Torso, head: Head) -> QNetwork:
        return QNetwork(torso, head)

    def _algorithm(self, network: Network) -> DoubleQLearning:
        return DoubleQLearning(network, self.huber_delta)
