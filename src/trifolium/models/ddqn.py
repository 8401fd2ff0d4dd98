"""DDQN: deep Q-learning with a double estimator, and DQN without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trifolium import _checks as checks
from trifolium.backend import AnyArray, Backend, Params
from trifolium.models import losses
from trifolium.models.algorithm import Randomness
from trifolium.models.fixed import Fixed
from trifolium.models.layers import Random
from trifolium.models.learner import Learner
from trifolium.models.masks import ActionMask, legal_only
from trifolium.models.memory import ReplayMemory
from trifolium.models.networks import Head, Network, QNetwork
from trifolium.models.torso import Torso
from trifolium.replay import Batch, Sampler
from trifolium.schedules import Schedule

__all__ = ["DDQN", "QLearning"]


@dataclass(frozen=True)
class QLearning:
    """Q-learning with a network (Mnih et al. 2015; van Hasselt et al. 2016).

    docs/reference/ddqn.md says more.

    Attributes:
        network: states to action values [B, A].
        huber_delta: where the loss turns from quadratic to linear; None for a quadratic loss.
        double: whether the network, not the target network, chooses the next action.
        mask: which actions are legal, so that no other is chosen; None for all.
    """

    network: Network
    huber_delta: float | None
    double: bool
    mask: ActionMask | None = None

    @property
    def evaluations(self) -> int:
        """Those of losses, of targets, and, if double, of the choice of the next action."""
        return 3 if self.double else 2

    def draw(self, rng: Random, batch_size: int) -> tuple[AnyArray, ...]:  # noqa: ARG002
        """Draw nothing."""
        return ()

    def action_values(self, xp: Any, params: Params, noise: AnyArray | None, states: Any) -> AnyArray:
        """Return the action values [B, A]."""
        return self.network.apply(xp, params, noise, states)

    def targets(
        self, xp: Any, params: Params, target_params: Params, batch: Batch, random: Randomness
    ) -> AnyArray:
        """Return ``r + gamma^k * Q_target(s', a*)``, [B, 1].

        a* has the highest Q, or Q_target, of the actions that are legal in s'.
        """
        next_states = batch.next_states
        rated = self.network.apply(xp, target_params, random.noise_of(1), next_states)
        discounts = batch.discounts * (1.0 - batch.dones)
        if not self.double and self.mask is None:
            return losses.q_target(xp, batch.rewards, discounts, rated)
        selector = rated
        if self.double:
            selector = self.network.apply(xp, params, random.noise_of(2), next_states)
        if self.mask is not None:
            selector = legal_only(xp, selector, self.mask.legal(next_states))
        return losses.double_q_target(xp, batch.rewards, discounts, selector, rated)

    def losses(
        self, xp: Any, params: Params, batch: Batch, targets: AnyArray, random: Randomness
    ) -> tuple[AnyArray, AnyArray]:
        """Return the losses and the errors of the actions taken, both [B, 1]."""
        values = self.network.apply(xp, params, random.noise_of(0), batch.states)
        errors = losses.chosen(xp, values, batch.actions) - targets
        if self.huber_delta is None:
            return errors * errors, errors
        return losses.huber(xp, errors, self.huber_delta), errors


class DDQN(Learner):
    """Double deep Q-network (van Hasselt et al. 2016), or deep Q-network (Mnih et al. 2015).

    One update draws a minibatch and moves the action values of the actions taken towards
    ``r + gamma * Q_target(s', argmax_a Q(s', a))`` by one Adam step. With ``double=False``, which is
    DQN, the target is ``r + gamma * max_a Q_target(s', a)``.

    All random numbers come from one host generator: a seed gives the same weights, minibatches
    and, up to rounding, the same losses on every backend. Acting evaluates the network on the host.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as ``obs_shape`` of :class:`~trifolium.Buffer`.
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, or a schedule of it.
        double: whether the network, not the target network, chooses the next action.
        huber_delta: where the loss turns from quadratic to linear; None for a quadratic loss.
        hidden, convolutions, input_scale, dueling, noisy, network, learning_rate, adam_epsilon,
            optimizer, max_grad_norm, batch_size, target_update, polyak, compile, action_mask: as for
            :class:`~trifolium.Learner`.
        memory, backend, device, seed: as for :class:`~trifolium.Learner`.
        gamma, n_frames, obs_dtype, action_dtype, extras, n_streams, n_step, boundary, sampler: of the
            memory, as for :class:`~trifolium.Buffer`.

    >>> import numpy as np
    >>> model = DDQN(input_size=4, action_space=2, memory_size=1000, batch_size=32, seed=0)
    >>> for step in range(100):
    ...     obs = np.full(4, step / 100)
    ...     model.memory.add(obs, model.take_action(obs), reward=1.0, done=step % 10 == 9)
    >>> bool(model.train_step() > 0.0)
    True
    """

    huber_delta = Fixed[float | None]()
    double = Fixed[bool]()

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float | Schedule = 0.1,
        *,
        double: bool = True,
        huber_delta: float | None = 1.0,
        hidden: Sequence[int] = (128, 128),
        convolutions: str | Sequence[Sequence[int]] | Mapping[str, Any] | None = None,
        input_scale: float | Mapping[str, float] | None = None,
        dueling: bool = False,
        noisy: bool = False,
        network: Any = None,
        learning_rate: float | Schedule = 1e-3,
        adam_epsilon: float = 1e-8,
        optimizer: Any = None,
        max_grad_norm: float | None = None,
        batch_size: int = 64,
        gamma: float = 0.99,
        target_update: int | None = None,
        polyak: float | None = None,
        compile: bool = False,
        action_mask: str | None = None,
        memory: ReplayMemory | None = None,
        backend: str | Backend | None = None,
        device: Any = None,
        seed: int | None = None,
        n_frames: int | Mapping[str, int] = 1,
        obs_dtype: Any = "float32",
        action_dtype: Any = None,
        extras: Mapping[str, Any] | None = None,
        n_streams: int = 1,
        n_step: int = 3,
        boundary: str = "pad",
        sampler: Sampler | None = None,
    ) -> None:
        self.double = checks.flag("double", double)
        self.huber_delta = checks.optional(checks.positive, "huber_delta", huber_delta)
        super().__init__(
            input_size,
            action_space,
            memory_size,
            epsilon,
            hidden=hidden,
            convolutions=convolutions,
            input_scale=input_scale,
            dueling=dueling,
            noisy=noisy,
            network=network,
            learning_rate=learning_rate,
            adam_epsilon=adam_epsilon,
            optimizer=optimizer,
            max_grad_norm=max_grad_norm,
            batch_size=batch_size,
            gamma=gamma,
            target_update=target_update,
            polyak=polyak,
            compile=compile,
            action_mask=action_mask,
            memory=memory,
            backend=backend,
            device=device,
            seed=seed,
            n_frames=n_frames,
            obs_dtype=obs_dtype,
            action_dtype=action_dtype,
            extras=extras,
            n_streams=n_streams,
            n_step=n_step,
            boundary=boundary,
            sampler=sampler,
        )

    def make_network(self, torso: Torso, head: Head) -> QNetwork:
        """Return the network of action values."""
        return QNetwork(torso, head)

    def make_algorithm(self, network: Network) -> QLearning:
        """Return the algorithm around ``network``."""
        return QLearning(network, self.huber_delta, self.double, self.mask)
