"""Learning curves: mean return of the last 100 episodes, with exploration, over three seeds.

    python benchmarks/learning.py run [--env CartPole-v1] [--model ddqn] [--backend numpy] [--seed 1]
    python benchmarks/learning.py table

``run`` trains what it is asked for (by default everything), ``--jobs`` at a time, and adds each result
to docs/results/learning.json; what stands there is not run again. ``table`` writes the table of
docs/reference/learning.md and its plot from that file.

CartPole and Acrobot follow CleanRL's DQN protocol: 500,000 steps, a network of 120 and 84 rectified
units, Adam at 2.5e-4, a memory of 10,000 rows, batches of 128, an update every 10 steps and a copy to
the target network every 500, from step 10,000 on; epsilon falls from 1 to 0.05 over the first half.
With three deviations: the learning rate falls to 0, as at a constant one some seeds unlearn CartPole
late in the run; on Acrobot, where values of actions differ by little, it falls from 1e-3 and networks
are dueling ones; and IQN sums three rewards on CartPole, at a rate that falls from 7.5e-4 to 0 over
240,000 steps. By then epsilon is at its last value, soon no episode in the memory fails any more, and
an IQN that goes on learning from those unlearns what it knows. IQN takes 8 fractions wherever it takes
any. MinAtar's Breakout has a convolutional torso, and options of its own.
"""

import argparse
import itertools
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any

from loops import OPTIONS, OPTIONS_OF_DDQN
from pages import DOCS, command_line, load, put, save

PLOT = DOCS / "images" / "learning.png"
CURVES = "![Learning curves](../images/learning.png)"

MODELS = ("ddqn", "iqn")
BACKENDS = ("numpy", "torch", "jax")
SEEDS = (1, 2, 3)
POINTS = 200  # of a curve that is kept


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How an agent is trained in an environment, and what it has to reach."""

    goal: float
    backends: tuple[str, ...] = BACKENDS
    steps: int = 500_000
    exploration: int = 250_000
    starts: int = 10_000
    train_every: int = 10
    memory: int = 10_000
    rate: float = 2.5e-4
    rate_steps: int = 500_000  # over which the rate falls to 0
    options: dict[str, Any] = field(default_factory=dict)


CARTPOLE = Protocol(goal=488.7, options=OPTIONS)
ACROBOT = Protocol(goal=-88.9, rate=1e-3, options=OPTIONS | {"dueling": True})
BREAKOUT = Protocol(
    goal=8.0,
    backends=("torch", "jax"),
    exploration=100_000,
    starts=5_000,
    train_every=4,
    memory=100_000,
    options={
        "convolutions": "minatar",
        "hidden": (128,),
        "obs_dtype": "bool",
        "learning_rate": 5e-4,
        "batch_size": 64,
        "n_step": 3,
        "target_update": 250,
        "huber_delta": 1.0,
    },
)
EIGHT = {"action_quantiles": 8}
PROTOCOLS = {
    ("CartPole-v1", "ddqn"): replace(CARTPOLE, options=OPTIONS_OF_DDQN),
    ("CartPole-v1", "iqn"): replace(
        CARTPOLE, rate=7.5e-4, rate_steps=240_000, options=CARTPOLE.options | EIGHT | {"n_step": 3}
    ),
    ("Acrobot-v1", "ddqn"): replace(ACROBOT, options=OPTIONS_OF_DDQN | {"dueling": True}),
    ("Acrobot-v1", "iqn"): replace(ACROBOT, options=ACROBOT.options | EIGHT),
    ("MinAtar/Breakout-v1", "ddqn"): BREAKOUT,
}
ENVIRONMENTS = tuple(dict.fromkeys(env for env, _ in PROTOCOLS))


def train(env_id: str, model_id: str, backend: str, seed: int) -> dict[str, Any]:
    """Train once and return the figures of the run."""
    from threadpoolctl import threadpool_limits

    import trifolium as tri

    protocol = PROTOCOLS[env_id, model_id]
    env = make(env_id)
    threadpool_limits(1)
    falling = tri.Linear(protocol.rate, 0.0, protocol.rate_steps // protocol.train_every)
    model = {"ddqn": tri.DDQN, "iqn": tri.IQN}[model_id](
        env.observation_space.shape,
        int(env.action_space.n),
        protocol.memory,
        epsilon=tri.Linear(1.0, 0.05, protocol.exploration),
        backend=backend,
        seed=seed,
        **({"learning_rate": falling} | protocol.options),
    )
    curve: list[tuple[int, float]] = []  # (step, return) of each episode
    earned = 0.0
    obs, _ = env.reset(seed=seed)
    start = time.perf_counter()
    for step in range(1, protocol.steps + 1):
        action = model.take_action(obs)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        model.memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)
        obs = next_obs
        earned += float(reward)
        if terminated or truncated:
            curve.append((step, earned))
            earned = 0.0
            obs, _ = env.reset()
        if step > protocol.starts and step % protocol.train_every == 0:
            model.train_step()
    return {
        "last 100 episodes": statistics.fmean(earned for _, earned in curve[-100:]),
        "steps per second": protocol.steps / (time.perf_counter() - start),
        "curve": thinned(curve, protocol.steps),
    }


def make(env_id: str) -> Any:
    import gymnasium as gym

    if env_id.startswith("MinAtar/"):
        from minatar.gym import register_envs

        register_envs()
    return gym.make(env_id)


def thinned(curve: list[tuple[int, float]], steps: int) -> list[float | None]:
    """Return the mean return of the episodes that ended in each of POINTS equal parts of the run."""
    parts: list[list[float]] = [[] for _ in range(POINTS)]
    for step, earned in curve:
        parts[min(POINTS - 1, step * POINTS // steps)].append(earned)
    return [round(statistics.fmean(part), 2) if part else None for part in parts]


def run(options: argparse.Namespace) -> None:
    """Run what is asked for and has no result yet."""
    wanted = {
        f"{env} {model} {backend} {seed}": (env, model, backend, seed)
        for backend, (env, model), seed in itertools.product(options.backend, PROTOCOLS, options.seed)
        if env in options.env and model in options.model
        if backend in PROTOCOLS[env, model].backends
    }
    missing = {name: case for name, case in wanted.items() if name not in load("learning")}
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        running = {pool.submit(train, *case): name for name, case in missing.items()}
        for done in as_completed(running):
            save("learning", load("learning") | {running[done]: done.result()})
            figures = done.result()
            print(
                f"{running[done]}: {figures['last 100 episodes']:.1f}, "
                f"{figures['steps per second']:.0f} steps/s",
                flush=True,
            )


def table(_: argparse.Namespace) -> None:
    """Write the table and the plot."""
    results = load("learning")
    lines = ["| environment | model | backend | seeds | mean | target |", "|---|---|---|---|--:|--:|"]
    for (env, model), backend in itertools.product(PROTOCOLS, BACKENDS):
        found = [results.get(f"{env} {model} {backend} {seed}") for seed in SEEDS]
        returns = [each["last 100 episodes"] for each in found if each]
        if returns:
            seeds = ", ".join(f"{each:.1f}" for each in returns)
            mean = statistics.fmean(returns)
            lines.append(
                f"| {env} | {model} | {backend} | {seeds} | {mean:.1f} | {PROTOCOLS[env, model].goal} |"
            )
    put("reference/learning.md", [*lines, "", CURVES])
    draw(results)


def draw(results: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    for axis, ((env, model), protocol) in zip(
        figure.subplots(2, 3).T.flat, PROTOCOLS.items(), strict=False
    ):
        for backend in protocol.backends:
            found = [results.get(f"{env} {model} {backend} {seed}") for seed in SEEDS]
            means = [
                mean_of(point) for point in zip(*(run["curve"] for run in found if run), strict=True)
            ]
            if not means:
                continue
            steps = [(index + 0.5) * protocol.steps / POINTS for index in range(len(means))]
            axis.plot(steps, means, label=backend, linewidth=1)
        axis.axhline(protocol.goal, color="grey", linestyle=":", linewidth=1)
        axis.set(title=f"{model} on {env}", xlabel="step", ylabel="return, mean of the seeds")
        axis.legend(frameon=False)
    for axis in figure.axes[len(PROTOCOLS) :]:
        axis.axis("off")
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=110)


def mean_of(point: tuple[float | None, ...]) -> float:
    known = [value for value in point if value is not None]
    return statistics.fmean(known) if known else float("nan")


def main() -> int:
    parser, commands = command_line(__doc__, table)
    running = commands.add_parser("run")
    running.set_defaults(do=run)
    for name, choices in (("env", ENVIRONMENTS), ("model", MODELS), ("backend", BACKENDS)):
        running.add_argument(f"--{name}", nargs="+", choices=choices, default=list(choices))
    running.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    running.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # else glibc hands large arrays back at once, and the kernel zeroes them anew for the next ones
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 32))
    options.do(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
