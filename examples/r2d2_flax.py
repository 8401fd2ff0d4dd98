"""R2D2 (Kapturowski et al. 2019) in flax and optax: stored recurrent states and burn-in.

Needs: pip install 'trifolium[jax]' flax

The memory stores the recurrent state of the network before each step as an extra. Sequences within an
episode are drawn by the priority of their first row. The network starts from the stored state, reads
the first steps without learning from them (burn-in), and learns from the rest: double Q-learning with
rescaled values and importance weights. The lines marked ``# trifolium`` are all that the replay takes.
r2d2_torch.py is the same in PyTorch.

Deviations from the paper: one process, a GRU, one-step targets.

Exits with an error if the agent does not learn the task, or if it learns it without a recurrent state.
"""

import argparse
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from recall import ACTIONS, OBS_SIZE, Recall

import trifolium as tri  # trifolium

CORRIDORS, HIDDEN, BATCH, POLYAK, GAMMA = 16, 32, 32, 0.02, 0.97
BURN_IN, SEQUENCE = 4, 12  # steps of a sequence, of which the first are not learned from
ETA = 0.9  # share of the largest error in the priority of a sequence, beside the mean
WANTED, CHANCE = 0.95, 0.65


class QNetwork(nnx.Module):
    """Action values of sequences: a GRU, or the same without its memory."""

    def __init__(self, has_memory: bool, rngs: nnx.Rngs) -> None:
        self.cell = nnx.GRUCell(OBS_SIZE, HIDDEN, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, ACTIONS, rngs=rngs)
        self.has_memory = has_memory

    def __call__(self, states: jax.Array, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the values [T, B, A] of states [T, B, n], and the recurrent state [B, H] after."""

        def step(hidden: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
            return self.cell(hidden if self.has_memory else jnp.zeros_like(hidden), state)

        hidden, outputs = jax.lax.scan(step, hidden, states)
        return self.head(outputs), hidden


def rescaled(values: jax.Array) -> jax.Array:
    return jnp.sign(values) * (jnp.sqrt(jnp.abs(values) + 1) - 1) + 1e-3 * values


def unscaled(values: jax.Array) -> jax.Array:
    root = jnp.sqrt(1 + 4e-3 * (jnp.abs(values) + 1 + 1e-3))
    return jnp.sign(values) * (((root - 1) / 2e-3) ** 2 - 1)


def make_learn(graph: Any, optimizer: optax.GradientTransformation) -> Any:
    def errors_of(params: Any, target: Any, batch: tri.Batch) -> jax.Array:
        network, target = nnx.merge(graph, params), nnx.merge(graph, target)
        states = jnp.concatenate([batch.states, batch.next_states[:, -1:]], axis=1).swapaxes(0, 1)
        start, rest = batch.extras["hidden"][:, 0], states[BURN_IN:]
        _, hidden = network(states[:BURN_IN], start)
        values, _ = network(rest, jax.lax.stop_gradient(hidden))
        next_values, _ = target(rest, target(states[:BURN_IN], start)[1])
        actions, rewards, dones, discounts = (
            each.swapaxes(0, 1)[BURN_IN:]
            for each in (batch.actions, batch.rewards, batch.dones, batch.discounts)
        )
        best = jnp.argmax(values[1:], axis=-1, keepdims=True)
        next_value = unscaled(jnp.take_along_axis(next_values[1:], best, axis=-1))
        targets = rescaled(rewards + discounts * (1 - dones) * next_value)
        chosen = jnp.take_along_axis(values[:-1], actions, axis=-1)
        return chosen - jax.lax.stop_gradient(targets)

    def loss_of(params: Any, target: Any, batch: tri.Batch) -> tuple[jax.Array, jax.Array]:
        errors = errors_of(params, target, batch)
        size = jnp.abs(errors)[..., 0]
        priorities = ETA * size.max(axis=0) + (1 - ETA) * size.mean(axis=0)
        loss = jnp.mean(batch.weights[:, 0] * jnp.mean(errors**2, axis=0))  # trifolium
        return loss, priorities

    @jax.jit
    def learn(params: Any, target: Any, moments: Any, batch: tri.Batch) -> Any:
        grads, priorities = jax.grad(loss_of, has_aux=True)(params, target, batch)
        updates, moments = optimizer.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        target = optax.incremental_update(params, target, POLYAK)
        return params, target, moments, priorities

    return learn


def train(episodes: int, seed: int, has_memory: bool) -> float:
    """Return the share of right turns in the last tenth of the episodes."""
    rng, world = np.random.default_rng(seed), Recall(CORRIDORS, seed)
    graph, params = nnx.split(QNetwork(has_memory, nnx.Rngs(seed)))
    optimizer = optax.adam(3e-3)
    moments, target, learn = optimizer.init(params), params, make_learn(graph, optimizer)
    act = jax.jit(lambda params, obs, hidden: nnx.merge(graph, params)(obs[None], hidden))
    memory = tri.Buffer(  # trifolium
        CORRIDORS * 2_000,
        (OBS_SIZE,),
        backend="jax",
        seed=seed,
        gamma=GAMMA,
        n_streams=CORRIDORS,
        extras={"hidden": ((HIDDEN,), "float32")},
        sampler=tri.Prioritized(alpha=0.9, beta=0.6),
    )
    successes = []
    for episode in range(episodes):
        epsilon = max(0.02, 1 - 2 * episode / episodes)
        obs, hidden, over = world.reset(), jnp.zeros((CORRIDORS, HIDDEN)), False
        while not over:
            values, after = act(params, obs, hidden)
            explores = rng.random(CORRIDORS) < epsilon
            greedy = np.asarray(values)[0].argmax(axis=-1)
            actions = np.where(explores, rng.integers(ACTIONS, size=CORRIDORS), greedy)
            next_obs, rewards, over = world.step(actions)
            memory.add(obs, actions, rewards, [over] * CORRIDORS, hidden=hidden)  # trifolium
            obs, hidden = next_obs, after
            if episode >= 2:
                batch = memory.sample_sequences(BATCH, SEQUENCE, within_episode=True)  # trifolium
                params, target, moments, errors = learn(params, target, moments, batch)
                memory.update_priorities(batch.indices, errors)  # trifolium
        successes.append(rewards.mean())
    return float(np.mean(successes[-max(episodes // 10, 1) :]))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=80, help="of all corridors together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = [train(options.episodes, options.seed, has_memory) for has_memory in (True, False)]
    print(f"success: {found[0]:.2f}, without a recurrent state: {found[1]:.2f} (wanted: {WANTED})")
    return 0 if found[0] >= WANTED and found[1] <= CHANCE else 1


if __name__ == "__main__":
    sys.exit(main())
