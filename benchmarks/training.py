"""Environment steps per second while learning, compared with plain loops of the same protocol.

    python benchmarks/training.py measure     # one run of section "Training" of docs/reference/speed.md
    python benchmarks/training.py table

DQN on CartPole-v1 by CleanRL's DQN protocol, see benchmarks/loops.py: an update every 10 steps, on 128
rows, and epsilon at its last value, 0.05, so that nearly every step asks the network. All take turns in
one process, on one thread each but for XLA's, past their first updates; the least of many short turns
are compared, as other work on the machine makes them longer.
"""

import argparse
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
from loops import (
    BATCH,
    ENVIRONMENTS,
    EPSILON,
    HIDDEN,
    OPTIONS_OF_DQN,
    RATE,
    ROWS,
    TRAIN_EVERY,
    PlainJax,
    PlainScan,
    PlainTorch,
)
from pages import command_line, last_two, put, save_run
from turns import least

import trifolium as tri

STEPS, SCAN_STEPS, STEPS_OF_SEEDS = 20, 2_000, 1_000  # of a turn
ROUNDS, SCAN_ROUNDS = 400, 30
WARM_UP = 3_000  # steps, after which torch repeats what it recorded
SEEDS = 8
GOALS = (  # at least that many times the steps of the other
    ("trifolium numpy", "plain torch", 1.0),
    ("trifolium torch", "plain torch", 2.0),
    ("trifolium torch, compile=True", "plain torch", 2.0),
    ("trifolium jax", "plain jax", 2.0),
    ("trifolium numpy", "SB3", 2.0),
    ("trifolium torch", "SB3", 2.0),
    ("trifolium compiled, 1 environment", "plain scan", 1.25),
    (f"trifolium compiled, {ENVIRONMENTS} environments", "plain scan", 1.25),
    (f"trifolium compiled, {SEEDS} seeds", f"plain scan, {SEEDS} seeds", 1.25),
)


def model(backend: str, streams: int = 1, seed: int = 0, **options: Any) -> tri.DDQN:
    return tri.DDQN(
        4,
        2,
        ROWS,
        EPSILON,
        learning_rate=RATE,
        backend=backend,
        n_streams=streams,
        seed=seed,
        **OPTIONS_OF_DQN,
        **options,
    )


class Loop:
    """The protocol with trifolium's DDQN."""

    def __init__(self, model: tri.DDQN) -> None:
        self.model = model
        self.env = gymnasium.make("CartPole-v1")
        self.steps = 0
        self.obs, _ = self.env.reset(seed=0)

    def run(self, steps: int) -> None:
        """Go on for that many steps."""
        model, memory = self.model, self.model.memory
        for _ in range(steps):
            action = model.take_action(self.obs)
            obs, reward, terminated, truncated, _ = self.env.step(action)
            memory.add(self.obs, action, reward, terminated, truncated=truncated, next_obs=obs)
            self.obs = self.env.reset()[0] if terminated or truncated else obs
            self.steps += 1
            if self.steps % TRAIN_EVERY == 0:
                loss = model.train_step()
        float(loss)


def stable_baselines() -> Callable[[int], Any]:
    from stable_baselines3 import DQN

    learner = DQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        learning_rate=RATE,
        buffer_size=ROWS,
        learning_starts=BATCH,
        batch_size=BATCH,
        train_freq=TRAIN_EVERY,
        target_update_interval=500,
        exploration_fraction=1e-6,
        exploration_final_eps=EPSILON,
        policy_kwargs={"net_arch": list(HIDDEN)},
        device="cpu",
    )
    return partial(learner.learn, reset_num_timesteps=False)


def compiled(streams: int, seeds: int = 1) -> Callable[[int], Any]:
    import gymnax

    from trifolium_jax import CompiledTraining

    env, params = gymnax.make("CartPole-v1")
    models = [model("jax", streams, seed=seed) for seed in range(seeds)]
    training = CompiledTraining(
        models if seeds > 1 else models[0],
        env,
        params,
        train_every=TRAIN_EVERY,
        learning_starts=BATCH * streams,
    )
    return partial(training.run, memories=False)


def measure(_: argparse.Namespace) -> None:
    """Run all loops once."""
    loops: dict[str, Callable[[int], Any]] = {
        "trifolium numpy": Loop(model("numpy")).run,
        "trifolium torch": Loop(model("torch")).run,
        "trifolium torch, compile=True": Loop(model("torch", compile=True)).run,
        "trifolium jax": Loop(model("jax")).run,
        "plain torch": PlainTorch().run,
        "plain jax": PlainJax().run,
        "SB3": stable_baselines(),
    }
    scans = {
        "trifolium compiled, 1 environment": compiled(1),
        f"trifolium compiled, {ENVIRONMENTS} environments": compiled(ENVIRONMENTS),
        "plain scan": PlainScan().run,
    }
    seeds = {
        f"trifolium compiled, {SEEDS} seeds": compiled(ENVIRONMENTS, SEEDS),
        f"plain scan, {SEEDS} seeds": PlainScan(SEEDS).run,
    }
    found: dict[str, int] = {}
    for group, steps, many, rounds in (
        (loops, STEPS, 1, ROUNDS),
        (scans, SCAN_STEPS, 1, SCAN_ROUNDS),
        (seeds, STEPS_OF_SEEDS, SEEDS, SCAN_ROUNDS),
    ):
        for run in group.values():
            run(WARM_UP)
        times = least({name: partial(run, steps) for name, run in group.items()}, rounds=rounds)
        found |= {name: round(many * steps / seconds) for name, seconds in times.items()}
        print(found, flush=True)
    save_run("training", found)


def table(_: argparse.Namespace) -> None:
    """Write the table."""
    first, second = last_two("training")
    lines = [
        "| loop | steps/s | baseline | steps/s | ratio | run before | target |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for ours, theirs, limit in GOALS:
        again = f"{first[ours] / first[theirs]:.2f}" if ours in first and theirs in first else ""
        ratio = second[ours] / second[theirs]
        lines.append(
            f"| {ours} | {second[ours]:,} | {theirs} | {second[theirs]:,} "
            f"| {ratio:.2f} | {again} | {limit} |"
        )
    put("reference/speed.md", lines, "training")


def main() -> None:
    warnings.simplefilter("ignore")  # of others
    parser, _ = command_line(__doc__, measure, table)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
