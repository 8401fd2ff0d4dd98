"""The cost of a replay memory, compared with those of each framework.

    python benchmarks/memories.py measure     # one run of section "Memories" of docs/reference/speed.md
    python benchmarks/memories.py sweep       # cost against capacity, batch size, observation size
    python benchmarks/memories.py table       # writes the page and its plot from both

All memories of a comparison are filled in one process and take turns, each round in another order. The
shortest of many short rounds are compared, which other load of the machine hardly affects. The time of
a call includes the wait for its result. ``measure`` keeps the runs of the last two calls, so that each
ratio is measured twice.
"""

import argparse
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pages import command_line, last_two, load, put, save, save_run
from priorities import draws_and_updates
from rivals import CASES, CONTENDERS, MANY, Case, Contender, TorchRL
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
    ours: str = OURS


SMALL = 3_000  # rows of memories that fit in the processor's cache
FAST = f"{OURS} fast"
FLAT = "flashbax flat"
OF_SMALL = f", {SMALL:,} rows"


def _both(operation: str, rival: str, limit: float) -> tuple[Goal, ...]:
    """Return a goal for small memories and one for full ones."""
    framework = {"cpprb": "numpy", "torchrl": "torch", FLAT: "jax"}[rival]
    return tuple(Goal(operation + rows, framework, rival, limit) for rows in (OF_SMALL, ""))


GOALS = (
    Goal(f"sample, vec{OF_SMALL}", "numpy", "cpprb", 1.0),
    Goal("sample, vec", "numpy", "cpprb", 0.8),
    *_both("sample, vec", "torchrl", 0.3),
    *_both("sample, vec", FLAT, 0.5),
    *_both("sample, image", "cpprb", 0.8),
    *_both("sample, image", "torchrl", 0.3),
    *_both("sample, image", FLAT, 0.5),
    *(
        Goal(f"sample, stack{rows}", name, ALONE, limit)
        for rows in (OF_SMALL, "")
        for name, limit in (("numpy", 1.0), ("torch", 1.3), ("jax", 1.5))
    ),
    *(Goal(f"sample, stack{OF_SMALL}", name, OURS, 1.2, f"{OURS}, pad") for name in FRAMEWORKS),
    *(
        Goal(f"draw and update, vec{rows}", name, rival, 1.0)
        for rows in (OF_SMALL, "")
        for name, rival in (("numpy", "cpprb"), ("jax", FLAT))
    ),
    Goal(f"sample, vec{OF_SMALL}", "numpy", "SB3", 0.5),
    Goal(f"sample, vec{OF_SMALL}", "numpy", "tianshou", 0.5),
    Goal(f"add one, vec{OF_SMALL}", "numpy", "SB3", 0.6),
    Goal(f"add one, vec{OF_SMALL}", "numpy", "cpprb", 0.5),
    Goal(f"add one, vec{OF_SMALL}", "torch", "torchrl", 0.2),
    Goal(f"add one, vec{OF_SMALL}", "jax", FLAT, 0.5),
    Goal("add 64, vec", "numpy", "cpprb", 0.5),
    Goal("add 64, vec", "torch", "torchrl", 0.5),
    Goal("add 64, vec", "jax", FLAT, 0.5),
    *_both("extend 1,024, vec", "cpprb", 1.0),
    *_both("extend 1,024, vec", "torchrl", 1.0),
    *_both("extend 1,024, vec", FLAT, 1.0),
    *(Goal("sample, vec", name, f"{OURS}, 10,000 rows", 1.5) for name in FRAMEWORKS),
    *(Goal("next of prefetch=2, image", name, f"{OURS}, sample", 1.0) for name in FRAMEWORKS),
    Goal("next of prefetch=2, image", "torch", "torchrl, prefetch=2", 1.0),
)
LARGE_ONES = (OURS, FAST, "cpprb", "torchrl", FLAT)  # what is filled with a million rows
ONE_ENVIRONMENT_A_ROW = (OURS, "SB3", "tianshou")  # whose add takes a row of each stream


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


def filled(case: Case, names: Iterable[str] | None = None) -> dict[str, Contender]:
    """Return full memories, by framework and name: of all contenders, or of those with these names."""
    chosen = [
        each for each in CONTENDERS if case.name in each.cases and (not names or each.name in names)
    ]
    made = {f"{each.framework} {each.name}": each(case) for each in chosen}
    for memory in made.values():
        memory.fill()
    return made


def padded(case: Case) -> dict[str, Callable[[], Any]]:
    """Return functions that draw stacks with zeros for frames of earlier episodes."""
    found = {}
    for name, memory in filled(case, [OURS]).items():
        buffer = tri.Buffer(
            case.capacity,
            case.shape,
            case.n_frames,
            obs_dtype=case.dtype,
            backend=memory.framework,
            boundary="pad",
            seed=0,
        )
        buffer.add_from_buffer(memory.buffer)
        found[f"{name}, pad"] = awaited(memory.framework, partial(buffer.sample, case.batch))
    return found


def prefetching(case: Case) -> dict[str, Callable[[], Any]]:
    """Return functions that take the next batch of an iterator that draws two ahead, and samples."""
    found: dict[str, Callable[[], Any]] = {}
    for name, memory in filled(case, [OURS, "torchrl"]).items():
        if isinstance(memory, TorchRL):
            found[f"{name}, prefetch=2"] = memory.ahead(2)
            continue
        batches = iter(memory.buffer.as_dataset(case.batch, prefetch=2))
        found[name] = awaited(memory.framework, partial(next, batches))
        found[f"{name}, sample"] = awaited(memory.framework, memory.sample)
    return found


def operations() -> Iterator[tuple[str, dict[str, Callable[[], Any]], int, int]]:
    """Yield (operation, what to time, rounds, calls of a turn)."""
    for rows, names in ((OF_SMALL, None), ("", LARGE_ONES)):
        cases = {
            name: dataclasses.replace(case, capacity=SMALL) if rows else case
            for name, case in CASES.items()
        }
        vec = filled(cases["vec"], names)
        samples: dict[str, Contender] = dict(vec)
        if not rows:
            small = filled(dataclasses.replace(CASES["vec"], capacity=10_000), [OURS])
            samples |= {f"{name}, 10,000 rows": each for name, each in small.items()}
        yield f"sample, vec{rows}", samples_of(samples), 250, 8
        plain = {name: each for name, each in vec.items() if each.name != FAST}
        if rows:
            yield f"add one, vec{rows}", {name: each.adding for name, each in plain.items()}, 200, 40
        flat = {name: each.extending for name, each in plain.items() if each.name in LARGE_ONES}
        yield f"extend 1,024, vec{rows}", flat, 150, 2
        del vec, samples, plain, flat
        prioritized = draws_and_updates(cases["vec"])
        prioritized = {name: awaited(name.split()[0], call) for name, call in prioritized.items()}
        yield f"draw and update, vec{rows}", prioritized, 150, 4
        del prioritized
        image = filled(cases["image"], names)
        yield f"sample, image{rows}", samples_of(image), 200, 4
        del image
        stack = samples_of(filled(cases["stack"], (OURS, FAST, "tianshou") if rows else (OURS, FAST)))
        for framework in FRAMEWORKS:
            stack[f"{framework} {ALONE}"] = awaited(framework, alone(framework, cases["stack"]))
        if rows:
            stack |= padded(cases["stack"])
        yield f"sample, stack{rows}", stack, 60, 1
        del stack
    many: dict[str, Callable[[], Any]] = {}
    for each in CONTENDERS:
        if each.name in LARGE_ONES and each.name != FAST:
            streams = MANY if each.name in ONE_ENVIRONMENT_A_ROW else 1
            memory = each(CASES["vec"], streams)
            memory.fill()
            many[f"{each.framework} {each.name}"] = memory.adding_many
    yield "add 64, vec", many, 200, 10
    del many
    yield "next of prefetch=2, image", prefetching(CASES["image"]), 150, 4


def measure(_: argparse.Namespace) -> None:
    """Run all operations once."""
    import jax

    found = {}
    for operation, work, rounds, calls in operations():
        # at the end of a turn, whose calls are many: adds to JAX are only begun when they return
        times = medians(work, rounds=rounds, calls=calls, finish=jax.block_until_ready, pick=min)
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


def ratios(operation: str, ours: str, theirs: str, *runs: dict[str, Any]) -> list[str]:
    return [f"{run[operation][ours] / run[operation][theirs]:.2f}" for run in runs]


def table(_: argparse.Namespace) -> None:
    """Write the page and the plot."""
    first, second = last_two("memories")
    lines = [
        "| operation | backend | trifolium, us | baseline | us | ratio | second run | with kernels, us "
        "| ratio | second run | target |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for operation, framework, rival, limit, name in GOALS:
        ours, theirs = f"{framework} {name}", f"{framework} {rival}"
        cells = [f"{second[operation][ours]:,.1f} | {rival} | {second[operation][theirs]:,.1f}"]
        cells += ratios(operation, ours, theirs, first, second)
        fast = f"{framework} {FAST}"
        is_timed = name == OURS and fast in second[operation] and OURS not in rival
        cells += [f"{second[operation][fast]:,.1f}"] if is_timed else ["", "", ""]
        cells += ratios(operation, fast, theirs, first, second) if is_timed else []
        lines.append(f"| {operation} | {framework} | {' | '.join(cells)} | {limit} |")
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
