"""Where the time goes: of a minibatch, of an update on torch, and of a step in a compiled scan.

    python benchmarks/parts.py       # writes section "Parts" of docs/reference/speed.md

A minibatch is of 256 rows out of 1,000,000, observations (4,) float32. It is timed up to the end of
each part, and once more with one draw used again and again, whose rows are in the processor's cache.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from loops import TRAIN_EVERY, learned, learner
from memories import FRAMEWORKS, awaited
from pages import put, save
from rivals import CASES, CONTENDERS
from training import model
from turns import medians

SCANNED = 2_000  # repetitions in one scan


def minibatch(backend: str) -> dict[str, float]:
    """Return microseconds up to the end of each part of ``sample``."""
    kind = next(each for each in CONTENDERS if each.framework == backend and each.name == "trifolium")
    memory = kind(CASES["vec"])
    memory.fill()
    buffer = memory.buffer
    rows, sampler, size = buffer._store, buffer.sampler, CASES["vec"].batch
    same = sampler.draw(rows, buffer.rng, size)

    def drawn() -> Any:
        return sampler.draw(rows, buffer.rng, size)

    def planned(draw: Any) -> Any:
        return rows.plan(draw.streams, draw.serials, draw.weights)

    def batch(draw: Any) -> Any:
        return rows.columns.batch(planned(draw), True).states

    work: dict[str, Callable[[], Any]] = {
        "draw": drawn,
        "and places, flags, rewards, actions": lambda: planned(drawn()),
        "and gather": lambda: rows.columns.material(planned(drawn())),
        "and batch: all": awaited(backend, lambda: batch(drawn())),
        "all, the same rows each time": awaited(backend, lambda: batch(same)),
    }
    return _rounded(medians(work, rounds=25, calls=200))


def update_on_torch() -> dict[str, float]:
    """Return microseconds of one update, and of what torch's profiler finds in it."""
    from torch.profiler import ProfilerActivity, profile

    learning = model("torch")
    for step in range(1_000):
        learning.memory.add(np.full(4, step % 7, np.float32), step % 2, 1.0, step % 20 == 19)
    found = medians({"all": learning.train_step}, rounds=25, calls=20)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(50):
            learning.train_step()
    events = [each for each in profiler.key_averages() if each.key.startswith("aten::")]
    found["kernels and torch's calls"] = sum(each.self_cpu_time_total for each in events) / 50 / 1e6
    products = [each for each in events if each.key in ("aten::mm", "aten::addmm", "aten::bmm")]
    found["matrix products"] = sum(each.self_cpu_time_total for each in products) / 50 / 1e6
    return _rounded(found)


def scan() -> dict[str, float]:
    """Return microseconds of the parts of ten steps in ten environments, each part in a scan alone."""
    import gymnax
    import jax
    import jax.numpy as jnp

    from trifolium import replay
    from trifolium.models import Randomness
    from trifolium_jax import CompiledTraining

    env, params = gymnax.make("CartPole-v1")
    training = CompiledTraining(
        model("jax", 10), env, params, train_every=TRAIN_EVERY, learning_starts=2_000
    )
    training.run(4_000, memories=False)
    graph: Any = training._graph
    memory, play = training._memory, training._play
    trained, key = training.models[0], jax.random.key(0)
    batch = replay.sample(memory, jax.random.bits(key, (128, 2)))
    network, plain, optimizer = learner()
    columns = (batch.states, batch.actions, batch.rewards, batch.next_states, batch.dones)

    def update(carry: Any, _: Any) -> Any:
        return trained.update(carry, batch, Randomness(), 2.5e-4)[0], None

    def plain_update(carry: Any, _: Any) -> Any:
        return learned(network, optimizer, carry[0], plain, carry[1], *columns), None

    def draw(carry: Any, number: Any) -> Any:
        bits = jax.random.bits(jax.random.fold_in(key, number), (128, 2))
        found = replay.sample(memory, bits)
        return carry + found.states.sum() + found.next_states.sum() + found.rewards.sum(), None

    drawn = graph._drawing.block(play.key, jnp.int32(0))
    first = jax.tree.map(lambda each: each[0], drawn)

    def act(carry: Any, _: Any) -> Any:
        memory, play = carry
        params = trained.progress.learned.params
        return graph._act(params, memory, play, 0.05, first.turns)[:2], None

    def draw_and_update(carry: Any, number: Any) -> Any:
        return graph._updated(carry, memory, first.updates, number)[0], None

    bodies: dict[str, tuple[Any, Any]] = {
        "update": (update, trained.progress.learned),
        "update of the plain scan": (plain_update, (plain, optimizer.init(plain))),
        "draw": (draw, jnp.float32(0)),
        "act in ten environments": (act, (memory, play)),
        "draw, update and target": (draw_and_update, trained.progress.learned),
    }

    def scanned(body: Any, carry: Any) -> Callable[[], Any]:
        program = jax.jit(lambda start: jax.lax.scan(body, start, jnp.arange(SCANNED))[0])
        return lambda: jax.block_until_ready(program(carry))

    work = {name: scanned(*each) for name, each in bodies.items()}
    return _rounded({name: each / SCANNED for name, each in medians(work, rounds=9).items()})


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(each * 1e6, 1) for name, each in seconds.items()}


def main() -> None:
    warnings.simplefilter("ignore")  # of others
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    samples = {backend: minibatch(backend) for backend in FRAMEWORKS}
    update, scans = update_on_torch(), scan()
    save("parts", {**samples, "update on torch": update, "scan": scans})
    lines = ["| minibatch, us up to and with | NumPy | torch | JAX |", "|---|--:|--:|--:|"]
    for part in samples["numpy"]:
        cells = " | ".join(f"{samples[backend][part]:.1f}" for backend in FRAMEWORKS)
        lines.append(f"| {part} | {cells} |")
    for title, parts in (("update of DDQN on torch", update), ("each by itself in a scan", scans)):
        lines += ["", f"| {title} | us |", "|---|--:|"]
        lines += [f"| {part} | {each:.1f} |" for part, each in parts.items()]
    put("reference/speed.md", lines, "parts")


if __name__ == "__main__":
    main()
