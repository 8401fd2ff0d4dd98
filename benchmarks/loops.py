"""Plain loops of CleanRL's DQN protocol, to compare with: what one writes without trifolium.

CartPole-v1, 120 and 84 rectified units, Adam at 2.5e-4, 10,000 transitions, batches of 128, an update
every 10 steps and a copy to the target network every 500. The first two keep their transitions in
Stable-Baselines3's buffer, as CleanRL's scripts do; the third has 10 environments, network, memory and
updates in one compiled scan, as PureJaxRL's DQN has, its memory being flashbax's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import gymnasium
import numpy as np

__all__ = ["OPTIONS", "OPTIONS_OF_DDQN", "OPTIONS_OF_DQN", "PlainJax", "PlainScan", "PlainTorch"]

HIDDEN, RATE, ROWS, BATCH = (120, 84), 2.5e-4, 10_000, 128
TRAIN_EVERY, COPY_EVERY, GAMMA, EPSILON = 10, 500, 0.99, 0.05
ENVIRONMENTS = 10  # of the scan
OPTIONS: dict[str, Any] = {  # of trifolium's models for this protocol
    "hidden": HIDDEN,
    "batch_size": BATCH,
    "target_update": COPY_EVERY // TRAIN_EVERY,
    "n_step": 1,
}
OPTIONS_OF_DDQN = OPTIONS | {"huber_delta": None}
OPTIONS_OF_DQN = OPTIONS_OF_DDQN | {"double": False}


class Plain(ABC):
    """A loop over Gymnasium's CartPole."""

    def __init__(self) -> None:
        from stable_baselines3.common.buffers import ReplayBuffer

        self.env = gymnasium.make("CartPole-v1")
        self.memory = ReplayBuffer(
            ROWS,
            self.env.observation_space,
            self.env.action_space,
            "cpu",
            handle_timeout_termination=False,
        )
        self.rng = np.random.default_rng(0)
        self.steps = 0
        self.obs, _ = self.env.reset(seed=0)

    @abstractmethod
    def best_action(self, obs: np.ndarray) -> int:
        """Return the action with the highest value."""

    @abstractmethod
    def update(self) -> None:
        """Learn from one minibatch."""

    @abstractmethod
    def copy(self) -> None:
        """Copy the network to the target network."""

    def run(self, steps: int) -> None:
        """Go on for that many steps."""
        for _ in range(steps):
            if self.rng.random() < EPSILON:
                action = int(self.rng.integers(2))
            else:
                action = self.best_action(self.obs)
            obs, reward, terminated, truncated, _ = self.env.step(action)
            step = (np.array([action]), np.array([reward]), np.array([terminated]))
            self.memory.add(self.obs[None], obs[None], *step, [{}])
            self.obs = self.env.reset()[0] if terminated or truncated else obs
            self.steps += 1
            if self.steps % TRAIN_EVERY == 0 and self.steps > BATCH:
                self.update()
            if self.steps % COPY_EVERY == 0:
                self.copy()


class PlainTorch(Plain):
    """In PyTorch."""

    def __init__(self) -> None:
        import torch
        from torch import nn

        super().__init__()
        self.torch = torch

        def network() -> nn.Module:
            first, second = HIDDEN
            layers = (nn.Linear(4, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
            return nn.Sequential(*layers, nn.Linear(second, 2))

        self.network, self.target = network(), network()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self.copy()

    def best_action(self, obs: np.ndarray) -> int:
        with self.torch.no_grad():
            return int(self.network(self.torch.from_numpy(obs)[None]).argmax())

    def update(self) -> None:
        batch = self.memory.sample(BATCH)
        with self.torch.no_grad():
            best = self.target(batch.next_observations).max(dim=1).values
            targets = batch.rewards.flatten() + GAMMA * best * (1 - batch.dones.flatten())
        values = self.network(batch.observations).gather(1, batch.actions).squeeze()
        loss = self.torch.nn.functional.mse_loss(targets, values)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def copy(self) -> None:
        self.target.load_state_dict(self.network.state_dict())


class PlainJax(Plain):
    """In JAX, with flax and optax."""

    def __init__(self) -> None:
        import jax

        super().__init__()
        network, self.params, optimizer = learner()
        self.state = optimizer.init(self.params)
        self.copy()

        @partial(jax.jit)
        def best(params: Any, obs: Any) -> Any:
            return network.apply(params, obs).argmax(axis=-1)

        self.best = best
        self.learn = jax.jit(partial(learned, network, optimizer))

    def best_action(self, obs: np.ndarray) -> int:
        return int(self.best(self.params, obs[None])[0])

    def update(self) -> None:
        batch = self.memory.sample(BATCH)
        arrays = (
            batch.observations,
            batch.actions,
            batch.rewards,
            batch.next_observations,
            batch.dones,
        )
        self.params, self.state = self.learn(
            self.params, self.target, self.state, *(array.numpy() for array in arrays)
        )

    def copy(self) -> None:
        self.target = self.params


class PlainScan:
    """Everything in one compiled scan, perhaps with several seeds side by side."""

    def __init__(self, seeds: int = 1) -> None:
        import flashbax
        import gymnax
        import jax
        import jax.numpy as jnp
        import optax

        env, env_params = gymnax.make("CartPole-v1")
        network, params, optimizer = learner()
        memory = flashbax.make_flat_buffer(ROWS, BATCH, BATCH, add_batch_size=ENVIRONMENTS)
        reset = jax.vmap(env.reset, in_axes=(0, None))
        step = jax.vmap(env.step, in_axes=(0, 0, 0, None))

        def turn(carry: Any, _: None) -> tuple[Any, Any]:
            params, target, state, rows, env_state, obs, key, number = carry
            key, act, explore, move, draw = jax.random.split(key, 5)
            best = network.apply(params, obs).argmax(axis=-1)
            random = jax.random.randint(act, (ENVIRONMENTS,), 0, 2)
            explores = jax.random.uniform(explore, (ENVIRONMENTS,)) < EPSILON
            action = jnp.where(explores, random, best)
            keys = jax.random.split(move, ENVIRONMENTS)
            new_obs, env_state, reward, done, _, _ = step(keys, env_state, action, env_params)
            rows = memory.add(rows, {"obs": obs, "action": action, "reward": reward, "done": done})
            number = number + 1

            def learn(_: None) -> Any:
                both = memory.sample(rows, draw).experience
                now, after = both.first, both.second
                columns = (now["action"][:, None], now["reward"][:, None])
                return learned(
                    network,
                    optimizer,
                    params,
                    target,
                    state,
                    now["obs"],
                    *columns,
                    after["obs"],
                    now["done"][:, None],
                )

            params, state = jax.lax.cond(
                memory.can_sample(rows), learn, lambda _: (params, state), None
            )
            due = number % (COPY_EVERY // ENVIRONMENTS) == 0
            target = optax.incremental_update(params, target, jnp.where(due, 1.0, 0.0))
            return (params, target, state, rows, env_state, new_obs, key, number), reward.sum()

        keys = jax.random.split(jax.random.key(0), ENVIRONMENTS)
        obs, env_state = reset(keys, env_params)
        row = {"obs": obs[0], "action": jnp.int32(0), "reward": jnp.float32(0), "done": jnp.bool(0)}
        rows, state = memory.init(row), optimizer.init(params)
        copied = jax.tree.map(jnp.copy, params)
        carry = (params, copied, state, rows, env_state, obs, jax.random.key(1), jnp.int32(0))

        def scan(carry: Any, turns: int) -> Any:
            each = partial(jax.lax.scan, turn, length=turns)
            return jax.vmap(each)(carry) if seeds > 1 else each(carry)

        if seeds > 1:
            carry = jax.tree.map(lambda each: jnp.stack([each] * seeds), carry)
            carry = (*carry[:-2], jax.random.split(jax.random.key(1), seeds), carry[-1])
        self.carry = carry
        self.scan = jax.jit(scan, static_argnums=1, donate_argnums=0)

    def run(self, steps: int) -> None:
        """Go on for that many steps."""
        self.carry, rewards = self.scan(self.carry, steps // ENVIRONMENTS)
        rewards.block_until_ready()


def learner() -> tuple[Any, Any, Any]:
    """Return a flax network, its parameters, and Adam."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    layers = [layer for size in HIDDEN for layer in (nn.Dense(size), nn.relu)]
    network = nn.Sequential([*layers, nn.Dense(2)])
    return network, network.init(jax.random.key(0), jnp.zeros((1, 4))), optax.adam(RATE)


def learned(
    network: Any,
    optimizer: Any,
    params: Any,
    target: Any,
    state: Any,
    obs: Any,
    actions: Any,
    rewards: Any,
    next_obs: Any,
    dones: Any,
) -> tuple[Any, Any]:
    """Return parameters and Adam's state after an update."""
    import jax
    import jax.numpy as jnp
    import optax

    best = network.apply(target, next_obs).max(axis=-1, keepdims=True)
    targets = rewards + GAMMA * best * (1 - dones)

    def loss(params: Any) -> Any:
        values = jnp.take_along_axis(network.apply(params, obs), actions, axis=1)
        return ((values - targets) ** 2).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state
