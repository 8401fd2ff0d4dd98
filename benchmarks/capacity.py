"""What a row costs: time to draw a minibatch and bytes a transition, small buffer against large.

    python benchmarks/capacity.py     # writes section "What it costs" of docs/reference/buffer.md

Buffers of 10,000 and 1,000,000 rows are filled, wrapped, and then sampled in turn, so that whatever
else the machine does falls on both alike. The ratio is that of the medians.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from memories import FRAMEWORKS, awaited
from pages import put, save
from turns import medians

import trifolium as tri

SMALL, LARGE = 10_000, 1_000_000
BATCH = 256
SAMPLERS: dict[str, Callable[[], tri.Sampler]] = {
    "Uniform": tri.Uniform,
    "Prioritized": tri.Prioritized,
}


def filled(backend: str, capacity: int, sampler: tri.Sampler) -> tri.Buffer:
    """Return a full buffer of (4,) float32 observations whose ring has wrapped."""
    streams = 1000
    buffer = tri.Buffer(capacity, (4,), n_streams=streams)
    rng = np.random.default_rng(0)
    for step in range(capacity // streams + 3):
        obs = rng.normal(size=(streams, 4)).astype(np.float32)
        buffer.add(obs, np.zeros(streams, int), np.ones(streams), np.full(streams, step % 50 == 49))
    single = tri.Buffer(capacity, (4,), backend=backend, seed=0, sampler=sampler)
    single.add_from_buffer(buffer)
    for _ in range(capacity // 100):
        single.add(obs[0], 0, 1.0, False)
    return single


def bytes_over_needed(buffer: tri.Buffer) -> float:
    """Return the bytes that the buffer holds for each row, over what obs, action and the rest need."""
    rows = buffer._store
    held = tri.backend.as_numpy(rows.columns.copied("obs")).nbytes
    held += rows.actions.nbytes + rows.rewards.nbytes + rows.ring.marks.nbytes
    if isinstance(buffer.sampler, tri.Prioritized) and buffer.sampler._tree is not None:
        held += buffer.sampler._tree.nbytes
    needed = 4 * 4 + rows.actions.itemsize + 4 + 1  # obs, action, reward, and a byte of flags
    return held / buffer.capacity / needed


def measure(backend: str, make: Callable[[], tri.Sampler]) -> dict[str, float]:
    """Return the size of a large buffer, and its cost of a minibatch against a small one's."""
    buffers = {"small": filled(backend, SMALL, make()), "large": filled(backend, LARGE, make())}
    work = {size: awaited(backend, partial(each.sample, BATCH)) for size, each in buffers.items()}
    times = medians(work, rounds=60, calls=20)
    return {
        "bytes": round(bytes_over_needed(buffers["large"]), 2),
        "sample": round(times["large"] / times["small"], 2),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    results = {
        name: {backend: measure(backend, make) for backend in FRAMEWORKS}
        for name, make in SAMPLERS.items()
    }
    save("capacity", results)
    lines = [
        "| | bytes a row over needed: NumPy | torch | JAX "
        f"| sample, {LARGE:,} rows over {SMALL:,}: NumPy | torch | JAX |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in results.items():
        cells = [
            f"{found[backend][what]:.2f}" for what in ("bytes", "sample") for backend in FRAMEWORKS
        ]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    put("reference/buffer.md", lines)


if __name__ == "__main__":
    main()
