"""A DQN project in flax and optax whose replay buffer is trifolium's, compiled with the update.

Needs: pip install 'trifolium[jax,train]' flax

The network, the loss and the loop are the project's own; the lines marked ``# trifolium`` are all
that the replay takes. Its state goes through ``jax.jit`` with everything else: adding a step is one
compiled call that writes in place, sampling and learning another.

Exits with an error if the agent does not learn to balance the pole.
"""

import sys
from functools import partial
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from trifolium import replay  # trifolium

STEPS, WARM_UP, BATCH, LEARN_EVERY = 25_000, 500, 64, 2
GAMMA, POLYAK, WANTED = 0.99, 0.01, 60.0  # a random policy earns 22


class QNetwork(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(4, 120, rngs=rngs)
        self.second = nnx.Linear(120, 84, rngs=rngs)
        self.last = nnx.Linear(84, 2, rngs=rngs)

    def __call__(self, states: jax.Array) -> jax.Array:
        return self.last(nnx.relu(self.second(nnx.relu(self.first(states)))))


@jax.jit
def greedy(graph: Any, params: Any, obs: jax.Array) -> jax.Array:
    return jnp.argmax(nnx.merge(graph, params)(obs))


@partial(jax.jit, donate_argnums=0)
def remember(memory: replay.State, *step: Any, **ending: Any) -> replay.State:
    return replay.add(memory, *step, **ending)  # trifolium


def make_learn(graph: Any, optimizer: optax.GradientTransformation) -> Any:
    def loss_of(params: Any, target: Any, batch: Any) -> jax.Array:
        states, actions, rewards, next_states, dones, valid = batch  # trifolium
        network = nnx.merge(graph, params)
        best = jnp.argmax(network(next_states), axis=1, keepdims=True)
        values = jnp.take_along_axis(nnx.merge(graph, target)(next_states), best, axis=1)
        targets = rewards + batch.discounts * (1 - dones) * jax.lax.stop_gradient(values)
        chosen = jnp.take_along_axis(network(states), actions, axis=1)
        return jnp.mean(valid * optax.huber_loss(chosen, targets))

    @jax.jit
    def learn(params: Any, target: Any, moments: Any, memory: replay.State, key: jax.Array) -> Any:
        batch = replay.sample(memory, jax.random.bits(key, (BATCH, 2)))  # trifolium
        grads = jax.grad(loss_of)(params, target, batch)
        updates, moments = optimizer.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        return params, optax.incremental_update(params, target, POLYAK), moments

    return learn


def train(seed: int) -> list[float]:
    env, rng = gym.make("CartPole-v1"), np.random.default_rng(seed)
    graph, params = nnx.split(QNetwork(nnx.Rngs(seed)))
    optimizer = optax.adam(1e-3)
    moments, target, learn = optimizer.init(params), params, make_learn(graph, optimizer)
    memory = replay.init(STEPS, (4,), backend="jax", gamma=GAMMA)  # trifolium
    keys = jax.random.split(jax.random.key(seed), STEPS)
    returns = [0.0]
    obs, _ = env.reset(seed=seed)
    for step in range(STEPS):
        explores = rng.random() < max(0.05, 1 - step / 5000)
        action = int(rng.integers(2)) if explores else int(greedy(graph, params, obs))
        next_obs, reward, terminated, truncated, _ = env.step(action)
        memory = remember(
            memory, obs, action, reward, terminated, truncated=truncated, next_obs=next_obs
        )
        returns[-1] += float(reward)
        obs = next_obs
        if terminated or truncated:
            obs, _ = env.reset()
            returns.append(0.0)
        if step >= WARM_UP and step % LEARN_EVERY == 0:
            params, target, moments = learn(params, target, moments, memory, keys[step])
    return returns


def main() -> int:
    mean = np.mean(train(seed=1)[-21:-1])
    print(f"mean return of the last 20 episodes: {mean:.1f} (wanted: {WANTED})")
    return 0 if mean >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
