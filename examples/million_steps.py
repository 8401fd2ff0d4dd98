"""A million environment steps of DDQN in one compiled call, with eight environments side by side.

Needs: pip install 'trifolium[jax,gymnax]'

Acting, environments, memory and updates are in one ``lax.scan``; progress is told from within. Exits
with an error if the agent does not learn to balance the pole.
"""

import sys
import time

import gymnax

import trifolium as tri
from trifolium_jax import CompiledTraining

STEPS, ENVS, EVERY = 1_000_000, 8, 16  # steps, environments, steps from one update to the next
WANTED = 400.0  # a random policy earns 22


def main() -> int:
    env, params = gymnax.make("CartPole-v1")
    model = tri.DDQN(
        input_size=4,
        action_space=2,
        memory_size=80_000,
        epsilon=tri.Linear(1.0, 0.05, 100_000),
        learning_rate=tri.Linear(2.5e-4, 0.0, STEPS // EVERY),
        target_update=500,
        n_streams=ENVS,
        backend="jax",
        seed=0,
    )
    training = CompiledTraining(model, env, params, train_every=EVERY, learning_starts=10_000)
    begin = time.perf_counter()
    training.compile(STEPS, on_progress=show)
    compiled = time.perf_counter()
    metrics = training.run(STEPS, on_progress=show)
    seconds = time.perf_counter() - compiled
    mean = float(metrics.last_return())
    print(f"compiled in {compiled - begin:.1f} s, {STEPS / seconds:,.0f} steps a second")
    print(f"mean return of the last 100 episodes: {mean:.1f} (wanted: {WANTED})")
    return 0 if mean >= WANTED else 1


def show(step: int, mean_return: float) -> None:
    if round(100 * step / STEPS) % 10 == 0:
        print(f"{step:9,} steps, mean return {mean_return:.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
