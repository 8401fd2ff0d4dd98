"""Learning curves by CleanRL's DQN protocol: 500,000 steps, mean return of the last 100 episodes.

    python benchmarks/learning.py run [--env CartPole-v1] [--model ddqn] [--backend numpy] [--seed 1] ...
    python benchmarks/learning.py table

``run`` trains what it is asked for (by default everything: two environments, two models, three backends,
three seeds), ``--jobs`` at a time, and adds each result to docs/results/learning.json; what stands there
is not run again. ``table`` writes the table of docs/learning.md and its plot from that file.

The protocol: a network of 120 and 84 rectified units, Adam at 2.5e-4, a memory of 10,000 rows, batches of
128, an update every 10 steps and a copy to the target network every 500, from step 10,000 on; epsilon falls
from 1 to 0.05 over the first half.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results" / "learning.json"
PAGE = DOCS / "learning.md"
PLOT = DOCS / "images" / "learning.png"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

ENVS = {"CartPole-v1": 488.7, "Acrobot-v1": -88.9}  # what is to be reached
MODELS = ("ddqn", "iqn")
BACKENDS = ("numpy", "torch", "jax")
SEEDS = (1, 2, 3)
STEPS, STARTS, TRAIN_EVERY, TARGET_EVERY, MEMORY = 500_000, 10_000, 10, 500, 10_000
POINTS = 200  # of a curve that is kept


def train(env_id: str, model_id: str, backend: str, seed: int, steps: int = STEPS) -> dict[str, Any]:
    """Train once and return the figures of the run."""
    import gymnasium as gym

    import trifolium as tri

    env = gym.make(env_id)
    tri.get_backend(backend).set_threads(1)
    model = {"ddqn": tri.DDQN, "iqn": tri.IQN}[model_id](
        env.observation_space.shape,
        int(env.action_space.n),
        MEMORY,
        epsilon=tri.Linear(1.0, 0.05, steps // 2),
        target_update=TARGET_EVERY // TRAIN_EVERY,
        backend=backend,
        seed=seed,
    )
    curve: list[tuple[int, float]] = []  # (step, return) of each episode
    earned = 0.0
    obs, _ = env.reset(seed=seed)
    start = time.perf_counter()
    for step in range(1, steps + 1):
        action = model.take_action(obs)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        model.memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)
        obs = next_obs
        earned += float(reward)
        if terminated or truncated:
            curve.append((step, earned))
            earned = 0.0
            obs, _ = env.reset()
        if step > STARTS and step % TRAIN_EVERY == 0:
            model.train_step()
    return {
        "last 100 episodes": statistics.fmean(earned for _, earned in curve[-100:]),
        "steps per second": steps / (time.perf_counter() - start),
        "curve": thinned(curve, steps),
    }


def thinned(curve: list[tuple[int, float]], steps: int) -> list[float | None]:
    """Return the mean return of the episodes that ended in each of POINTS equal parts of the run."""
    parts: list[list[float]] = [[] for _ in range(POINTS)]
    for step, earned in curve:
        parts[min(POINTS - 1, step * POINTS // steps)].append(earned)
    return [round(statistics.fmean(part), 2) if part else None for part in parts]


def load() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def run(options: argparse.Namespace) -> None:
    """Run what is asked for and has no result yet."""
    grid = itertools.product(options.backend, options.model, options.env, options.seed)
    wanted = {
        f"{env} {model} {backend} {seed}": (env, model, backend, seed)
        for backend, model, env, seed in grid
    }
    missing = {name: case for name, case in wanted.items() if name not in load()}
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        running = {pool.submit(train, *case): name for name, case in missing.items()}
        for done in as_completed(running):
            results = load() | {running[done]: done.result()}
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(dict(sorted(results.items()))) + "\n")
            figures = done.result()
            print(
                f"{running[done]}: {figures['last 100 episodes']:.1f}, "
                f"{figures['steps per second']:.0f} steps/s",
                flush=True,
            )


def table(_: argparse.Namespace) -> None:
    """Write the table and the plot."""
    results = load()
    lines = ["| environment | model | backend | seeds | mean | to reach |", "|---|---|---|---|--:|--:|"]
    for env, model, backend in itertools.product(ENVS, MODELS, BACKENDS):
        found = [results.get(f"{env} {model} {backend} {seed}") for seed in SEEDS]
        returns = [each["last 100 episodes"] for each in found if each]
        if returns:
            seeds = ", ".join(f"{each:.1f}" for each in returns)
            mean = statistics.fmean(returns)
            lines.append(f"| {env} | {model} | {backend} | {seeds} | {mean:.1f} | {ENVS[env]} |")
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    draw(results)


def draw(results: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(len(ENVS), len(MODELS), squeeze=False)
    for (row, env), (column, model) in itertools.product(enumerate(ENVS), enumerate(MODELS)):
        axis = axes[row][column]
        for backend in BACKENDS:
            curves = [results.get(f"{env} {model} {backend} {seed}", {}).get("curve") for seed in SEEDS]
            means = [mean_of(point) for point in zip(*filter(None, curves), strict=True)]
            steps = [(index + 0.5) * STEPS / POINTS for index in range(len(means))]
            axis.plot(steps, means, label=backend, linewidth=1)
        axis.axhline(ENVS[env], color="grey", linestyle=":", linewidth=1)
        axis.set(title=f"{model} on {env}", xlabel="step", ylabel="return, mean of the seeds")
        axis.legend(frameon=False)
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=110)


def mean_of(point: tuple[float | None, ...]) -> float:
    known = [value for value in point if value is not None]
    return statistics.fmean(known) if known else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__)[0])
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.set_defaults(do=run)
    for name, choices in (("env", ENVS), ("model", MODELS), ("backend", BACKENDS)):
        running.add_argument(f"--{name}", nargs="+", choices=choices, default=list(choices))
    running.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    running.add_argument("--jobs", type=int, default=1)
    commands.add_parser("table").set_defaults(do=table)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options.do(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
