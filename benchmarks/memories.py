"""The cost of a replay memory, compared with those of each framework.

    python benchmarks/memories.py measure     # one run of section "Memories" of docs/reference/speed.md
    python benchmarks/memories.py sweep       # cost against capacity, batch size, observation size
    python benchmarks/memories.py table       # writes the page and its plot from both

All memories of a comparison are filled in one process and take turns, each round in another order, so
that other load of the machine affects all alike; the medians of the rounds are compared. The time of a
call includes the wait for its result. ``measure`` keeps the runs of the last two calls, so that each
ratio is measured twice.
"""

import argparse
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from pages import command_line, last_two, load, put, save, save_run
from rivals import CASES, CONTENDERS, MANY, Case, Contender
from turns import medians

import trifolium as tri

FRAMEWORKS = ("numpy", "torch", "jax")
OURS = "trifolium"
ALONE = "the gather alone"


class Goal(NamedTuple):
    """At most ``limit`` times what a rival takes."""

    operation: str
    framework: str
    rival: str
    limit: float


GOALS = (
    Goal("sample, vec", "numpy", "cpprb", 0.5),
    Goal("sample, vec", "numpy", "SB3", 0.5),
    Goal("sample, vec", "numpy", "tianshou", 0.5),
    Goal("sample, vec", "torch", "torchrl", 0.35),
    Goal("sample, vec", "jax", "flashbax flat", 0.5),
    Goal("sample, vec", "jax", "flashbax item", 0.5),
    Goal("sample, image", "numpy", "cpprb", 0.5),
    Goal("sample, image", "numpy", "SB3", 0.5),
    Goal("sample, image", "torch", "torchrl", 0.5),
    Goal("sample, image", "jax", "flashbax flat", 0.5),
    Goal("sample, image", "jax", "flashbax item", 0.5),
    Goal("sample, stack", "numpy", ALONE, 1.3),
    Goal("sample, stack", "torch", ALONE, 1.3),
    Goal("sample, stack", "jax", ALONE, 1.3),
    Goal("sample, stack", "numpy", "tianshou", 0.5),
    Goal("add one, vec", "numpy", "SB3", 0.5),
    Goal("add one, vec", "numpy", "cpprb", 0.5),
    Goal("add one, vec", "torch", "torchrl", 0.2),
    Goal("add one, vec", "jax", "flashbax flat", 0.5),
    Goal("add 64, vec", "numpy", "cpprb", 0.5),
    Goal("add 64, vec", "torch", "torchrl", 0.5),
    Goal("add 64, vec", "jax", "flashbax flat", 0.5),
    Goal("extend 1,024, vec", "numpy", "cpprb", 1.0),
    Goal("extend 1,024, vec", "torch", "torchrl", 1.0),
    Goal("extend 1,024, vec", "jax", "flashbax flat", 1.0),
    *(Goal("sample, vec", name, f"{OURS}, 10,000 rows", 1.5) for name in FRAMEWORKS),
)
ONE_ENVIRONMENT_A_ROW = ("trifolium", "SB3", "tianshou")  # whose add takes a row of each stream


def alone(framework: str, case: Case) -> Callable[[], Any]:
    """Return a function that does nothing but gather the five frames of each row of a stack."""
    backend = tri.get_backend(framework)
    rng = np.random.default_rng(0)
    host = np.zeros((case.capacity, *case.shape), case.dtype)
    host += rng.integers(0, 255, host.shape[1:]).astype(case.dtype)
    columns = backend.from_numpy(host)
    take = backend.compile(backend.take)
    frames = np.arange(case.n_frames + 1)

    def gather() -> Any:
        first = rng.integers(case.capacity - case.n_frames, size=case.batch)
        return take(columns, (first[:, None] + frames).reshape(-1).astype(backend.default_int))

    return gather


def awaited(framework: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return ``call``, on JAX until what it returned is there; elsewhere it is there at once."""
    if framework != "jax":
        return call
    import jax

    return lambda: jax.block_until_ready(call())  # a Batch is one of JAX's trees


def samples_of(memories: dict[str, Contender]) -> dict[str, Callable[[], Any]]:
    return {name: awaited(each.framework, each.sample) for name, each in memories.items()}


def filled(case: Case, chosen: Iterable[type[Contender]] = CONTENDERS) -> dict[str, Contender]:
    """Return full memories, by framework and name."""
    made = {f"{each.framework} {each.name}": each(case) for each in chosen if case.name in each.cases}
    for memory in made.values():
        memory.fill()
    return made


def operations() -> Iterator[tuple[str, dict[str, Callable[[], Any]], int, int]]:
    """Yield (operation, what to time, rounds, calls of a turn)."""
    vec = filled(CASES["vec"])
    small = filled(
        dataclasses.replace(CASES["vec"], capacity=10_000), [c for c in CONTENDERS if c.name == OURS]
    )
    samples = vec | {f"{name}, 10,000 rows": each for name, each in small.items()}
    yield "sample, vec", samples_of(samples), 30, 200
    yield "add one, vec", {name: each.adding for name, each in vec.items()}, 40, 500
    yield "extend 1,024, vec", {name: each.extending for name, each in vec.items()}, 20, 5
    del vec, small, samples
    many: dict[str, Callable[[], Any]] = {}
    for each in CONTENDERS:
        streams = MANY if each.name in ONE_ENVIRONMENT_A_ROW else 1
        memory = each(CASES["vec"], streams)
        memory.fill()
        many[f"{each.framework} {each.name}"] = memory.adding_many
    yield "add 64, vec", many, 40, 100
    del many
    image = filled(CASES["image"])
    yield "sample, image", samples_of(image), 30, 60
    del image
    stack = samples_of(filled(CASES["stack"]))
    for framework in FRAMEWORKS:
        stack[f"{framework} {ALONE}"] = awaited(framework, alone(framework, CASES["stack"]))
    yield "sample, stack", stack, 30, 6


def measure(_: argparse.Namespace) -> None:
    """Run all operations once."""
    import jax

    found = {}
    for operation, work, rounds, calls in operations():
        # at the end of a turn, whose calls are many: adds to JAX are only begun when they return
        times = medians(work, rounds=rounds, calls=calls, finish=jax.block_until_ready)
        found[operation] = {name: round(each * 1e6, 2) for name, each in times.items()}
        print(operation, found[operation], flush=True)
    save_run("memories", found)


SWEEPS: dict[str, list[tuple[int, Case]]] = {
    "rows held": [(n, Case("vec", (4,), "float32", n)) for n in (1_000, 10_000, 100_000, 1_000_000)],
    "batch size": [
        (n, Case("vec", (4,), "float32", 100_000, batch=n)) for n in (32, 128, 512, 2048, 8192)
    ],
    "bytes of an observation": [
        (n, Case("vec", (n,), "uint8", 5_000)) for n in (16, 128, 1024, 8192, 32768)
    ],
}


def sweep(_: argparse.Namespace) -> None:
    """Time ``sample`` over a range of each size."""
    found: dict[str, dict[str, Any]] = {}
    for size, cases in SWEEPS.items():
        found[size] = {"at": [at for at, _ in cases]}
        for at, case in cases:
            for name, seconds in medians(samples_of(filled(case)), rounds=15, calls=10).items():
                found[size].setdefault(name, []).append(round(seconds * 1e6, 2))
            print(size, at, flush=True)
    save("memory_sweeps", found)


def table(_: argparse.Namespace) -> None:
    """Write the page and the plot."""
    first, second = last_two("memories")
    lines = [
        "| operation | backend | trifolium, us | baseline | us | ratio | second run | target |",
        "|---|---|--:|---|--:|--:|--:|--:|",
    ]
    for operation, framework, rival, limit in GOALS:
        ours, theirs = f"{framework} {OURS}", f"{framework} {rival}"
        ratios = [run[operation][ours] / run[operation][theirs] for run in (first, second)]
        lines.append(
            f"| {operation} | {framework} | {second[operation][ours]:,.1f} | {rival} "
            f"| {second[operation][theirs]:,.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} | {limit} |"
        )
    lines += ["", "![Cost of a minibatch](../images/memories.png)"]
    put("reference/speed.md", lines, "memories")
    draw(load("memory_sweeps"))


def draw(found: dict[str, Any]) -> None:
    from matplotlib.figure import Figure
    from pages import DOCS

    figure = Figure(figsize=(13, 10), layout="constrained")
    panels = figure.subplots(len(FRAMEWORKS), len(found))
    for row, framework in zip(panels, FRAMEWORKS, strict=True):
        for axis, (size, lines) in zip(row, found.items(), strict=True):
            for name, line in lines.items():
                if name.startswith(f"{framework} "):
                    width = 2.5 if name.endswith(OURS) else 1
                    axis.plot(
                        lines["at"], line, label=name.split(" ", 1)[1], linewidth=width, marker="o"
                    )
            axis.set(xscale="log", yscale="log", xlabel=size, ylabel=f"us a minibatch, {framework}")
            axis.legend(frameon=False)
    figure.savefig(DOCS / "images" / "memories.png", dpi=100)


def main() -> None:
    warnings.simplefilter("ignore")  # of rivals
    parser, _ = command_line(__doc__, measure, sweep, table)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
