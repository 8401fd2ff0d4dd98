"""Minibatches a second out of memory shards on Ray, and rows a second into them.

    python tests/loopback.py python benchmarks/cluster.py [--shards 2] [--seconds 3]

Ray runs on this machine, in a network of loopback alone. docs/howto/ray.md has some results.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from trifolium.distributed import ShardedBuffer
from trifolium.distributed.cluster import load_ray

KINDS: dict[str, dict[str, Any]] = {
    "vec": {"obs_shape": (4,), "obs_dtype": "float32", "capacity": 100_000},
    "image": {"obs_shape": (84, 84), "obs_dtype": "uint8", "n_frames": 4, "capacity": 10_000},
}
BATCH, STREAMS, CHUNK = 256, 4, 256


def steps(rng: np.random.Generator, memory: Any, count: int) -> dict[str, Any]:
    """Return made-up arguments of ``extend``."""
    spec = memory.spec
    lead = (count, spec.n_streams) if spec.n_streams > 1 else (count,)
    obs = rng.integers(0, 255, (*lead, *spec.obs_shape)).astype(spec.obs_dtype)
    zeros = np.zeros(lead, np.int64)
    return {"obs": obs, "action": zeros, "reward": zeros.astype(np.float32), "done": zeros}


def rate(calls: Iterator[Any], seconds: float) -> float:
    """Return how many calls a second are made, after the first few."""
    for _ in range(5):
        next(calls)
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        next(calls)
        count += 1
    return count / passed


def drawn(kind: str, address: str | None, shards: int, seconds: float) -> dict[str, float]:
    """Return minibatches a second, by how many are drawn ahead."""
    rng = np.random.default_rng(0)
    with ShardedBuffer(
        **KINDS[kind], n_streams=STREAMS, shards=shards, seed=0, address=address
    ) as memory:
        for _ in range(10):
            memory.extend(**steps(rng, memory, 200))
        return {
            f"prefetch={ahead}": rate(iter(memory.as_dataset(BATCH, prefetch=ahead)), seconds)
            for ahead in (0, 8, 32, 128)
        }


def written(address: str | None, shards: int, seconds: float) -> float:
    """Return rows a second that one writer stores, in chunks of one stream each."""
    rng = np.random.default_rng(0)
    with ShardedBuffer(
        **KINDS["vec"], n_streams=STREAMS, shards=shards, seed=0, address=address
    ) as memory:
        writer = memory.writer(streams=STREAMS, chunk=CHUNK)
        chunk = {name: value[:, 0] for name, value in steps(rng, memory, CHUNK).items()}

        writer.extend(**chunk, stream=0)
        writer.flush()  # the shards have started

        def calls() -> Iterator[None]:
            while True:
                for stream in range(STREAMS):
                    writer.extend(**chunk, stream=stream)
                    yield

        found = rate(calls(), seconds) * CHUNK
        writer.flush()
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    ray = load_ray()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=1_000_000_000,
        _node_ip_address="127.0.0.1",
    )
    for where, address in (("Ray", "auto"), ("in process", None)):
        for kind in KINDS:
            for name, found in drawn(kind, address, options.shards, options.seconds).items():
                print(f"{where}: {kind}, minibatches of {BATCH} a second, {name}: {found:,.0f}")
        rows = written(address, options.shards, options.seconds)
        print(f"{where}: rows a second in, chunks of {CHUNK}: {rows:,.0f}", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
