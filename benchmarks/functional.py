"""What a step of the functional form costs inside a compiled scan, small memory against large.

    python benchmarks/functional.py

On JAX. A step adds one row and draws a minibatch, of which everything is used; memories of 10,000 and
1,000,000 rows take turns, so that whatever else the machine does falls on both alike. They are filled
before. Compile time is apart; figures are medians, and go to docs/howto/functional.md. "bare reads" is
what the machine makes of reading as many rows at random from arrays of these sizes, in a scan that does
nothing else.
"""

import argparse
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from pages import put, save
from turns import medians

import trifolium as tri
from trifolium import replay
from trifolium.replay.rules.ordinals import DRAWS

SMALL, LARGE = 10_000, 1_000_000
BATCH, STEPS, ROUNDS = 128, 2_000, 15


def step(draw: str, state: replay.State, key: jax.Array) -> tuple[replay.State, jax.Array]:
    """Add a made-up step, draw a minibatch, and report errors where priorities ask for them."""
    keys = jax.random.split(key)
    obs = jax.random.normal(keys[0], (4,))
    ends = obs[0] > 2
    state = replay.add(state, obs, 0, obs[1], ends & (obs[1] > 0), truncated=ends, next_obs=obs)
    bits = jax.random.bits(keys[1], (BATCH, 2))
    batch = replay.sample(state, bits, draw=draw)
    if state.priorities is not None:
        state = replay.update_priorities(state, batch.indices, batch.rewards)
    leaves = jax.tree.leaves(batch)
    return state, sum((jnp.sum(leaf.astype(jnp.float32)) for leaf in leaves), jnp.float32(0))


def bare_reads(state: replay.State, key: jax.Array) -> tuple[replay.State, jax.Array]:
    """Read rows and the observations after them, and sum up what was read."""
    rows = jax.random.randint(key, (BATCH,), 0, state.capacity - 1)
    obs = state.columns["obs"]
    small = (state.actions[rows], state.rewards[rows], state.marks[rows])
    found = sum(jnp.sum(column.astype(jnp.float32)) for column in small)
    return state, found + jnp.sum(obs[rows]) + jnp.sum(obs[rows + 1])


def filled(capacity: int, options: dict[str, Any]) -> replay.State:
    """Return a full memory."""
    rows = min(capacity // 4, 50_000)
    zeros = jnp.zeros(rows)
    add = jax.jit(partial(replay.add, obs=jnp.zeros((rows, 4))), donate_argnums=0)
    state = replay.init(capacity, (4,), backend="jax", **options)
    for _ in range(capacity // rows + 1):
        state = add(state, action=zeros.astype(jnp.int32), reward=zeros, done=zeros)
    return state


def measure(step: Any, options: dict[str, Any]) -> dict[str, float]:
    """Return microseconds a step with a small and a large memory, and seconds to compile."""
    run = jax.jit(lambda state, keys: jax.lax.scan(step, state, keys), donate_argnums=0)
    keys = jax.random.split(jax.random.key(0), STEPS)
    states = {capacity: filled(capacity, options) for capacity in (SMALL, LARGE)}
    begin = time.perf_counter()
    compiled = {capacity: run.lower(state, keys).compile() for capacity, state in states.items()}
    seconds = (time.perf_counter() - begin) / 2

    def turn(capacity: int) -> None:
        states[capacity], sums = compiled[capacity](states[capacity], keys)
        jax.block_until_ready(sums)

    times = medians({"small": partial(turn, SMALL), "large": partial(turn, LARGE)}, rounds=ROUNDS)
    found = {size: each / STEPS * 1e6 for size, each in times.items()}
    return {**found, "compile": seconds}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    results = {"bare reads": measure(bare_reads, {})}
    results |= {draw: measure(partial(step, draw), {}) for draw in DRAWS}
    results["prioritized"] = measure(partial(step, "stratified"), {"sampler": tri.Prioritized()})
    save("functional", results)
    lines = [
        f"| a step adds one row and draws {BATCH}, obs (4,) float32 | µs at {SMALL:,} "
        f"| µs at {LARGE:,} | µs more | seconds to compile |",
        "|---|--:|--:|--:|--:|",
    ]
    for way, figures in results.items():
        small, large = figures["small"], figures["large"]
        lines.append(
            f"| {way} | {small:.1f} | {large:.1f} | {large - small:.1f} | {figures['compile']:.1f} |"
        )
    put("howto/functional.md", lines)


if __name__ == "__main__":
    main()
