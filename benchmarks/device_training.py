"""What training costs on a GPU: updates as they are and compiled, and training in one compiled call.

    python benchmarks/device_training.py updates --device cuda    # of DDQN, on torch and JAX
    python benchmarks/device_training.py scans --device cuda      # environments and seeds, on JAX
    python benchmarks/device_training.py table --name "NVIDIA H100 80GB"

Results go to docs/results/device_training.json, tables to docs/reference/speed.md. Each figure is the
median of five rounds, waited for at the end of a round. The scans are DQN on gymnax's CartPole with an
update on 128 rows after every step of all environments, or every ten steps where there is one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from device import learner
from loops import OPTIONS_OF_DQN
from pages import load, put, save

import trifolium as tri

ROUNDS = 5
IMAGES = {"obs_dtype": "uint8", "n_frames": 4, "convolutions": "nature"}
MODELS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "vec (4,)": ((4,), {}),
    "stack (84, 84), 4 frames": ((84, 84), IMAGES),
}
BEFORE = 250  # updates after which torch repeats what it recorded
SCANS = [(1, 1), (16, 1), (256, 1), (4096, 1), (10, 1), (10, 8), (10, 64)]
"""Environments of a seed, and seeds."""


def median_seconds(call: Callable[[], Any]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        rounds.append(time.perf_counter() - begin)
    return median(rounds)


def updates(options: argparse.Namespace) -> None:
    """Measure updates of DDQN on 256 rows."""
    found: dict[str, dict[str, Any]] = {}
    for name, (shape, more) in MODELS.items():
        for backend, device, compiles in (
            ("torch", options.device, False),
            ("torch", options.device, True),
            ("jax", "gpu" if options.device == "cuda" else options.device, False),
        ):
            column = f"{backend}, compile=True" if compiles else backend
            begin = time.perf_counter()
            on = tri.get_backend(backend, device=device)
            model = learner(on, shape, more | ({"compile": True} if compiles else {}))
            float(model.train_step())
            first = time.perf_counter() - begin
            for _ in range(BEFORE):
                model.train_step()
            us = 1e6 * median_seconds(partial(several, model, 50)) / 50
            found.setdefault(name, {})[column] = {"us": us, "seconds of the first": first}
            print(name, column, found[name][column], flush=True)
    save("device_training", load("device_training") | {"updates": found})


def several(model: tri.DDQN, count: int) -> None:
    for _ in range(count):
        loss = model.train_step()
    float(loss)  # waits for the device


def scans(options: argparse.Namespace) -> None:
    """Measure CompiledTraining, past the start of learning."""
    import gymnax

    from trifolium_jax import CompiledTraining

    env, params = gymnax.make("CartPole-v1")
    device = "gpu" if options.device == "cuda" else options.device
    found = load("device_training").get("scans", {})
    for environments, seeds in SCANS:
        if options.seeds and seeds not in options.seeds:
            continue
        every = 10 if environments == 1 else environments
        rows = 10_240 if environments in (1, 16, 256) else 32 * environments
        rows = 10_000 if environments == 10 else rows
        models = [
            tri.DDQN(
                4,
                2,
                rows,
                0.05,
                learning_rate=2.5e-4,
                backend="jax",
                device=device,
                n_streams=environments,
                seed=seed,
                **OPTIONS_OF_DQN,
            )
            for seed in range(seeds)
        ]
        training = CompiledTraining(models, env, params, train_every=every, learning_starts=0)
        steps = every * 500
        begin = time.perf_counter()
        training.run(steps, memories=False)
        first = time.perf_counter() - begin
        seconds = median_seconds(partial(training.run, steps, memories=False))
        found[f"{environments}, {seeds}"] = {"steps/s": steps * seeds / seconds, "first": first}
        print(environments, seeds, found[f"{environments}, {seeds}"], flush=True)
        save("device_training", load("device_training") | {"scans": found})


def table(options: argparse.Namespace) -> None:
    """Write both tables."""
    found = load("device_training")
    if options.name:
        found["device"] = options.name
        save("device_training", found)
    columns = list(next(iter(found["updates"].values())))
    lines = [
        f"| update of DDQN on 256 rows, on {found.get('device')}, us | {' | '.join(columns)} |",
        "|---" + "|--:" * len(columns) + "|",
    ]
    for name, row in found["updates"].items():
        lines.append(f"| {name} | {' | '.join(format(row[each]['us'], ',.0f') for each in columns)} |")
    lines += ["", "| environments of a seed | seeds | steps/s of all |", "|--:|--:|--:|"]
    for environments, seeds in SCANS:
        if f"{environments}, {seeds}" not in found["scans"]:
            continue  # the time on the device was over
        speed = found["scans"][f"{environments}, {seeds}"]["steps/s"]
        lines.append(f"| {environments:,} | {seeds} | {speed:,.0f} |")
    put("reference/speed.md", lines, "device-training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["updates", "scans", "table"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--name", default="", help="of the device, for the table")
    parser.add_argument("--seeds", type=int, nargs="+", help="take only the scans of so many seeds")
    options = parser.parse_args()
    {"updates": updates, "scans": scans, "table": table}[options.do](options)


if __name__ == "__main__":
    main()
