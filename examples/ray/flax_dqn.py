"""A DQN project in flax and optax whose players, and whose replay memory, are processes of Ray.

Needs: pip install 'trifolium[jax,train,ray]' flax

The network, the loss, the players and the loop are the project's own. The lines marked ``# trifolium``
are all that the memory takes: two shards of it, a writer for each player, and minibatches in arrays of
JAX, which the compiled update takes as they are. Several come with each call of a shard.

``--address local``, the default, starts Ray on this machine; ``--address auto`` joins its cluster.
Exits with an error if the agent does not learn to balance the pole.
"""

import argparse
import sys
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from trifolium.distributed import ShardedBuffer, Writer  # trifolium

STEPS, WARM_UP, BATCH, LEARN_EVERY = 25_000, 500, 64, 2
PLAYERS, CHUNK = 2, 32  # steps that a player takes between two policies
GAMMA, POLYAK, WANTED = 0.99, 0.01, 60.0  # a random policy earns 22


class QNetwork(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(4, 120, rngs=rngs)
        self.second = nnx.Linear(120, 84, rngs=rngs)
        self.last = nnx.Linear(84, 2, rngs=rngs)

    def __call__(self, states: jax.Array) -> jax.Array:
        return self.last(nnx.relu(self.second(nnx.relu(self.first(states)))))


class Player:
    """Plays CartPole in a process of its own, and writes the steps to the shards."""

    def __init__(self, writer: Writer, seed: int) -> None:
        self.writer, self.rng = writer, np.random.default_rng(seed)
        self.env = gym.make("CartPole-v1")
        graph, params = nnx.split(QNetwork(nnx.Rngs(0)))
        self.tree = jax.tree.structure(params)
        self.greedy = jax.jit(lambda params, obs: jnp.argmax(nnx.merge(graph, params)(obs)))
        self.obs, _ = self.env.reset(seed=seed)
        self.earned = 0.0

    def play(self, weights: list[np.ndarray], steps: int, epsilon: float) -> list[float]:
        """Take steps by these weights; return what the episodes that ended returned."""
        params = jax.tree.unflatten(self.tree, weights)
        ended = []
        for _ in range(steps):
            explores = self.rng.random() < epsilon
            action = int(self.rng.integers(2) if explores else self.greedy(params, self.obs))
            next_obs, reward, terminated, truncated, _ = self.env.step(action)
            self.writer.add(  # trifolium
                self.obs, action, reward, terminated, truncated=truncated, next_obs=next_obs
            )
            self.earned += float(reward)
            self.obs = next_obs
            if terminated or truncated:
                self.obs, _ = self.env.reset()
                ended.append(self.earned)
                self.earned = 0.0
        self.writer.flush(wait=False)  # trifolium
        return ended


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
    def learn(params: Any, target: Any, moments: Any, batch: Any) -> Any:
        grads = jax.grad(loss_of)(params, target, batch)
        updates, moments = optimizer.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        return params, optax.incremental_update(params, target, POLYAK), moments

    return learn


def train(seed: int, address: str) -> list[float]:
    import ray

    graph, params = nnx.split(QNetwork(nnx.Rngs(seed)))
    optimizer = optax.adam(1e-3)
    moments, target, learn = optimizer.init(params), params, make_learn(graph, optimizer)
    returns, steps = [], 0
    sizes = {"shards": 2, "n_streams": PLAYERS, "prefetch": 16}
    with ShardedBuffer(  # trifolium
        STEPS, (4,), **sizes, backend="jax", seed=seed, gamma=GAMMA, address=address
    ) as memory:
        remote = ray.remote(num_cpus=0)(Player)
        players = [remote.remote(memory.writer(1), seed + i) for i in range(PLAYERS)]  # trifolium
        while steps < STEPS:
            weights = ray.put([np.asarray(each) for each in jax.tree.leaves(params)])
            epsilon = max(0.05, 1 - steps / 5000)
            playing = [player.play.remote(weights, CHUNK, epsilon) for player in players]
            if steps >= WARM_UP:  # meanwhile
                for _ in range(PLAYERS * CHUNK // LEARN_EVERY):
                    batch = memory.sample(BATCH)  # trifolium
                    params, target, moments = learn(params, target, moments, batch)
            returns += [earned for ended in ray.get(playing) for earned in ended]
            steps += PLAYERS * CHUNK
    return returns


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="local", help="of the Ray cluster (default: local)")
    mean = np.mean(train(seed=1, address=parser.parse_args().address)[-20:])
    print(f"mean return of the last 20 episodes: {mean:.1f} (wanted: {WANTED})")
    return 0 if mean >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
