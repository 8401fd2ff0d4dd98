"""What a row costs: time to draw a minibatch and bytes a transition, small buffer against large.

    python benchmarks/capacity.py [--backend numpy] [--json FILE]

Buffers of 10,000 and 1,000,000 rows are filled, wrapped, and then sampled in turn, so that whatever
else the machine does falls on both alike. The ratio is that of the medians.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

import trifolium as tri

SMALL, LARGE = 10_000, 1_000_000
BATCH = 256
ROUNDS, CALLS = 60, 20


def filled(backend: str, capacity: int, sampler: tri.Sampler | None) -> tri.Buffer:
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
    single.sample(BATCH)
    return single


def time_of_sample(buffer: tri.Buffer) -> float:
    """Return the microseconds of one sample, over a few of them."""
    start = time.perf_counter()
    for _ in range(CALLS):
        batch = buffer.sample(BATCH)
    tri.backend.as_numpy(batch.states)  # waits for what was only dispatched
    return (time.perf_counter() - start) / CALLS * 1e6


def time_of_draw(buffer: tri.Buffer) -> float:
    """Return the microseconds of drawing the rows of a sample, without gathering them."""
    start = time.perf_counter()
    for _ in range(CALLS):
        buffer.draw(BATCH)
    return (time.perf_counter() - start) / CALLS * 1e6


def bytes_a_transition(buffer: tri.Buffer) -> dict[str, float]:
    """Return the bytes that the buffer holds for each row, and what obs + action + ... need."""
    rows, columns = buffer._rows, buffer._rows.storage.arrays
    held = sum(tri.backend.as_numpy(column).nbytes for column in columns.values())
    held += rows.actions.nbytes + rows.rewards.nbytes + rows.ring.marks.nbytes
    if isinstance(buffer.sampler, tri.Prioritized):
        held += buffer.sampler._tree._nodes.nbytes
    needed = 4 * 4 + rows.actions.itemsize + 4 + 1  # obs, action, reward, and a byte of flags
    row = held / buffer.capacity
    return {"bytes held": row, "bytes needed": needed, "bytes ratio": row / needed}


def measure(backend: str) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = {}
    for name, make in {"uniform": lambda: None, "prioritized": tri.Prioritized}.items():
        small, large = filled(backend, SMALL, make()), filled(backend, LARGE, make())
        results[name] = bytes_a_transition(large)
        for operation, measured in {"sample": time_of_sample, "draw": time_of_draw}.items():
            times: dict[int, list[float]] = {SMALL: [], LARGE: []}
            for round_ in range(ROUNDS):
                for buffer in (small, large) if round_ % 2 else (large, small):
                    times[buffer.capacity].append(measured(buffer))
            medians = {capacity: statistics.median(each) for capacity, each in times.items()}
            results[name] |= {
                f"{operation} us at {SMALL:,}": medians[SMALL],
                f"{operation} us at {LARGE:,}": medians[LARGE],
                f"{operation} ratio": medians[LARGE] / medians[SMALL],
            }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = measure(arguments.backend)
    print(f"backend {arguments.backend}, batch {BATCH}, obs (4,) float32")
    for name, figures in results.items():
        print(name)
        print(*(f"    {key:24} {value:10.2f}" for key, value in figures.items()), sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({arguments.backend: results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
