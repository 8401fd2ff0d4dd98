"""Training in one compiled call: return and speed, compared with a Python loop of the same model.

    python benchmarks/compiled.py [--steps 500000]

CartPole by CleanRL's DQN protocol, on JAX: 120 and 84 rectified units, Adam at 2.5e-4, a memory of
10,000 rows, batches of 128, an update every 10 steps and a copy to the target network every 500, from
step 10,000 on; epsilon falls from 1 to 0.05 over the first half. With one deviation: the learning rate
falls to 0 over the run, as at a constant one some seeds unlearn late, in a Python loop as in a graph.
Three seeds side by side are trained in one call. One model in a compiled call and one in a Python loop
over Gymnasium's CartPole take turns, past the start of learning, and the medians of their speeds are
compared; so are compiled calls with a full memory of 10,000 rows and with one of 1,000,000. The results
go to docs/results/compiled.json and docs/howto/compiled_training.md.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnax
from loops import OPTIONS_OF_DDQN, TRAIN_EVERY
from pages import put, save
from training import Loop
from turns import medians

import trifolium as tri
from trifolium_jax import CompiledTraining

SEEDS = (1, 2, 3)
STARTS = 10_000
COMPILED_STEPS, LOOP_STEPS, ROUNDS = 20_000, 4_000, 7


def model(seed: int, steps: int, rows: int = 10_000) -> tri.DDQN:
    epsilon, rate = tri.Linear(1.0, 0.05, steps // 2), tri.Linear(2.5e-4, 0.0, steps // TRAIN_EVERY)
    return tri.DDQN(
        4, 2, rows, epsilon, learning_rate=rate, backend="jax", seed=seed, **OPTIONS_OF_DDQN
    )


def training(models: Any, starts: int = STARTS) -> CompiledTraining:
    env, params = gymnax.make("CartPole-v1")
    return CompiledTraining(models, env, params, train_every=TRAIN_EVERY, learning_starts=starts)


def learned(steps: int) -> dict[str, Any]:
    """Train all seeds in one call; return what the last 100 episodes earned, and seconds."""
    run = training([model(seed, steps) for seed in SEEDS])
    begin = time.perf_counter()
    run.compile(steps)
    compiled = time.perf_counter()
    metrics = run.run(steps, memories=False)
    return {
        "returns": metrics.last_return().tolist(),
        "seconds to compile": compiled - begin,
        "steps per second": steps * len(SEEDS) / (time.perf_counter() - compiled),
    }


def speeds() -> dict[str, float]:
    """Return medians of steps per second, past the start of learning."""
    compiled, loop = training(model(1, 500_000), starts=0), Loop(model(1, 500_000))
    turns = {"compiled": (steps_of(compiled), COMPILED_STEPS), "loop": (loop.run, LOOP_STEPS)}
    return steps_per_second(turns)


def sizes() -> dict[str, float]:
    """Return medians of steps per second with a full memory of each size."""
    runs = {rows: training(model(1, 500_000, rows), starts=rows) for rows in (10_000, 1_000_000)}
    for rows, run in runs.items():
        run.run(rows, memories=False)  # fills it
    return steps_per_second(
        {f"{rows:,}": (steps_of(run), COMPILED_STEPS) for rows, run in runs.items()}
    )


def steps_of(run: CompiledTraining) -> Callable[[int], Any]:
    return partial(run.run, memories=False)


def steps_per_second(turns: dict[str, tuple[Callable[[int], Any], int]]) -> dict[str, float]:
    """Return the median speed of each run, which takes so many steps a turn."""
    times = medians({name: partial(run, steps) for name, (run, steps) in turns.items()}, rounds=ROUNDS)
    return {name: turns[name][1] / seconds for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500_000)
    steps = parser.parse_args().steps
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    results: dict[str, Any] = {"speeds": speeds(), "sizes": sizes()}
    results |= learned(steps)
    save("compiled", results)
    put("howto/compiled_training.md", table(results, steps))


def table(results: dict[str, Any], steps: int) -> list[str]:
    speeds = results["speeds"]
    lines = [
        f"| CartPole-v1, {steps:,} steps, three seeds in one call | last 100 episodes | mean "
        "| steps/s of all three | seconds to compile |",
        "|---|---|--:|--:|--:|",
    ]
    returns = ", ".join(f"{each:.1f}" for each in results["returns"])
    lines.append(
        f"| DDQN | {returns} | {statistics.fmean(results['returns']):.1f} "
        f"| {results['steps per second']:,.0f} | {results['seconds to compile']:.1f} |"
    )
    ratio = speeds["compiled"] / speeds["loop"]
    return [
        *lines,
        "",
        f"One DDQN that learns takes {speeds['compiled']:,.0f} steps a second in a compiled call, "
        f"and {speeds['loop']:,.0f} in a Python loop over Gymnasium's CartPole: {ratio:.1f} times as "
        "many. With a full memory of "
        + " and of ".join(
            f"{rows} rows it takes {each:,.0f}" for rows, each in results["sizes"].items()
        )
        + ". All are medians of rounds that took turns in one process, on two cores.",
    ]


if __name__ == "__main__":
    main()
