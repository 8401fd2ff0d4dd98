"""IQN: implicit quantile networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trifolium import _checks as checks
from trifolium.backend import AnyArray, Backend, Params, device_of
from trifolium.models import losses
from trifolium.models.algorithm import Randomness
from trifolium.models.fixed import Fixed
from trifolium.models.layers import Random
from trifolium.models.learner import Learner
from trifolium.models.masks import ActionMask, legal_only
from trifolium.models.memory import ReplayMemory
from trifolium.models.networks import Head, ImplicitQuantiles, Network
from trifolium.models.states import any_array
from trifolium.models.torso import Torso
from trifolium.replay import Batch, Sampler
from trifolium.schedules import Schedule

__all__ = ["IQN", "QuantileRegression"]


@dataclass(frozen=True)
class QuantileRegression:
    """Implicit quantile regression (Dabney et al. 2018) as pure functions; see docs/reference/iqn.md.

    Attributes:
        network: states and fractions [B, N] to quantiles [B, N, A].
        quantiles: N, fractions for which the network is moved.
        target_quantiles: N', samples of the target.
        action_quantiles: K, fractions over which action values are means.
        kappa: where Huber's loss turns from quadratic to linear.
        double: whether the network, not the target network, chooses the next action.
        mask: which actions are legal, so that no other is chosen; None for all.
    """

    network: Network
    quantiles: int
    target_quantiles: int
    action_quantiles: int
    kappa: float
    double: bool
    mask: ActionMask | None = None

    @property
    def evaluations(self) -> int:
        """Those of losses, of targets, and of the choice of the next action."""
        return 3

    def draw(self, rng: Random, batch_size: int) -> tuple[AnyArray, ...]:
        """Draw fractions [B, N], [B, N'] and [B, K]."""
        counts = (self.quantiles, self.target_quantiles, self.action_quantiles)
        return tuple(rng.random((batch_size, count), np.float32) for count in counts)

    def action_values(self, xp: Any, params: Params, noise: AnyArray | None, states: Any) -> AnyArray:
        """Return the mean [B, A] of quantiles at the middles of K equal parts."""
        count = self.action_quantiles
        array = any_array(states)
        numbers = xp.arange(count, dtype=array.dtype, device=device_of(array))
        middles = (numbers + 0.5) * (1.0 / count)
        fractions = xp.broadcast_to(middles[None, :], (array.shape[0], count))
        return xp.mean(self.network.apply(xp, params, noise, states, fractions), axis=1)

    def targets(
        self, xp: Any, params: Params, target_params: Params, batch: Batch, random: Randomness
    ) -> AnyArray:
        """Return ``r + gamma^k * Z_target(s', a*)`` at N' fractions, [B, N']; a* is legal in s'."""
        _, target_fractions, action_fractions = random.drawn
        chooser = params if self.double else target_params
        apply, next_states = self.network.apply, batch.next_states
        quantiles = apply(xp, chooser, random.noise_of(2), next_states, action_fractions)
        values = xp.mean(quantiles, axis=1)
        if self.mask is not None:
            values = legal_only(xp, values, self.mask.legal(next_states))
        best = xp.argmax(values, axis=1, keepdims=True)
        quantiles = apply(xp, target_params, random.noise_of(1), next_states, target_fractions)
        return batch.rewards + batch.discounts * (1.0 - batch.dones) * losses.chosen_quantiles(
            xp, quantiles, best
        )

    def losses(
        self, xp: Any, params: Params, batch: Batch, targets: AnyArray, random: Randomness
    ) -> tuple[AnyArray, AnyArray]:
        """Return the quantile Huber losses [B, 1], twice: the losses are also the errors."""
        fractions = random.drawn[0]
        values = self.network.apply(xp, params, random.noise_of(0), batch.states, fractions)
        quantiles = losses.chosen_quantiles(xp, values, batch.actions)
        each = losses.quantile_huber(xp, quantiles, fractions, targets, self.kappa)
        return each, each


class IQN(Learner):
    """Implicit quantile network (Dabney et al. 2018).

    The network gives the quantile of the return at any fraction tau. One update moves N quantiles of
    the action taken towards N' samples of ``r + gamma * Z_target(s', a*)`` by the quantile Huber loss;
    a* has the highest mean of K quantiles.

    Deviations from the paper: with ``double`` the network itself chooses a*, not the target network;
    acting takes the K fractions in the middle of K equal parts instead of random ones, so that the
    same state gives the same action.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as ``obs_shape`` of :class:`~trifolium.Buffer`.
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, or a schedule of it.
        quantiles: N, fractions for which the network is moved.
        target_quantiles: N', samples of the target.
        action_quantiles: K, fractions over which action values are means.
        cosines: in the embedding of a fraction.
        kappa: where Huber's loss turns from quadratic to linear.
        double: whether the network, not the target network, chooses the next action.
        hidden, convolutions, input_scale, dueling, noisy, network, learning_rate, adam_epsilon,
            optimizer, max_grad_norm, batch_size, target_update, polyak, compile, action_mask: as for
            :class:`~trifolium.Learner`.
        memory, backend, device, seed: as for :class:`~trifolium.Learner`.
        gamma, n_frames, obs_dtype, action_dtype, extras, n_streams, n_step, boundary, sampler: of the
            memory, as for :class:`~trifolium.Buffer`.

    >>> model = IQN(input_size=4, action_space=2, memory_size=1000, batch_size=32, seed=0)
    >>> for step in range(100):
    ...     obs = np.full(4, step / 100)
    ...     model.memory.add(obs, model.take_action(obs), reward=1.0, done=step % 10 == 9)
    >>> bool(model.train_step() > 0.0)
    True
    """

    quantiles = Fixed[int]()
    target_quantiles = Fixed[int]()
    action_quantiles = Fixed[int]()
    cosines = Fixed[int]()
    kappa = Fixed[float]()
    double = Fixed[bool]()

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float | Schedule = 0.1,
        *,
        quantiles: int = 8,
        target_quantiles: int = 8,
        action_quantiles: int = 32,
        cosines: int = 64,
        kappa: float = 1.0,
        double: bool = False,
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
        self.quantiles = checks.integer("quantiles", quantiles, 1)
        self.target_quantiles = checks.integer("target_quantiles", target_quantiles, 1)
        self.action_quantiles = checks.integer("action_quantiles", action_quantiles, 1)
        self.cosines = checks.integer("cosines", cosines, 1)
        self.kappa = checks.positive("kappa", kappa)
        self.double = checks.flag("double", double)
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

    def example_inputs(self, states: Any) -> tuple[Any, ...]:
        """Return states and fractions [B, N]."""
        return states, np.full((len(any_array(states)), self.quantiles), 0.5, np.float32)

    def make_network(self, torso: Torso, head: Head) -> ImplicitQuantiles:
        """Return the network of quantiles."""
        return ImplicitQuantiles(torso, head, self.cosines)

    def make_algorithm(self, network: Network) -> QuantileRegression:
        """Return the algorithm around ``network``."""
        return QuantileRegression(
            network,
            self.quantiles,
            self.target_quantiles,
            self.action_quantiles,
            self.kappa,
            self.double,
            self.mask,
        )
