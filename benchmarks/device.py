"""What sampling and training cost on a device: for docs/reference/speed.md.

    python benchmarks/device.py --device cuda    # writes docs/results/device.json and the table

Memories hold 20,000 rows (100,000 of vectors) in the device's memory. Each figure is the median of five
rounds, waited for at the end of a round. A batch of stacks is compared with a copy of as many bytes.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from pages import load, put, save

import trifolium as tri

CASES: dict[str, dict[str, Any]] = {
    "vec (4,) float32": {"obs_shape": (4,), "capacity": 100_000},
    "image (10, 10, 6) uint8": {"obs_shape": (10, 10, 6), "obs_dtype": "uint8", "capacity": 20_000},
    "stack (84, 84) uint8, 4 frames": {
        "obs_shape": (84, 84),
        "obs_dtype": "uint8",
        "n_frames": 4,
        "capacity": 20_000,
    },
}
SIZES = (256, 4096)
CHUNK = 1000


def timed(call: Callable[[], Any], wait: Callable[[Any], object], repeat: int) -> float:
    """Return the median time of one call in microseconds, waited for after ``repeat`` calls."""
    wait(call())
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeat):
            found = call()
        wait(found)
        rounds.append((time.perf_counter() - start) / repeat)
    return 1e6 * median(rounds)


def filled(backend: tri.Backend, options: dict[str, Any]) -> tri.Buffer:
    buffer = tri.Buffer(**options, backend=backend, seed=0)
    rng = np.random.default_rng(0)
    shape, dtype = options["obs_shape"], options.get("obs_dtype", "float32")
    actions, rewards = np.zeros(CHUNK, backend.default_int), np.ones(CHUNK, np.float32)
    for _ in range(options["capacity"] // CHUNK):
        obs = rng.integers(0, 255, (CHUNK, *shape)).astype(dtype)
        buffer.extend(obs, actions, rewards, rng.random(CHUNK) < 0.01)
    return buffer


def measure(name: str, device: str) -> dict[str, float]:
    """Return microseconds by what was timed."""
    backend = tri.get_backend(name, device=device)

    def wait(array: Any) -> object:
        return backend.to_numpy(array.reshape(-1)[:1])  # a read waits for the device

    found = {}
    for case, options in CASES.items():
        buffer = filled(backend, options)
        for size in SIZES:
            what = f"sample {case}, batch {size}"
            found[what] = timed(partial(next_states, buffer, size), wait, 100)
        chunk = np.zeros((CHUNK, *options["obs_shape"]), options.get("obs_dtype", "float32"))
        rest = (np.zeros(CHUNK, backend.default_int), np.ones(CHUNK, np.float32), np.zeros(CHUNK, bool))

        def extend(b: tri.Buffer = buffer, c: np.ndarray = chunk, r: Any = rest) -> Any:
            b.extend(c, *r)
            return b.sample(1).rewards

        found[f"extend {case}, {CHUNK} rows"] = timed(extend, wait, 10)
        if case.startswith("stack"):
            found["copy of as many bytes as a stack batch of 256"] = copied(backend, wait)
    found["train_step DDQN vec, batch 256"] = trained(backend, wait, (4,), {})
    images = {"obs_dtype": "uint8", "n_frames": 4, "convolutions": "nature"}
    found["train_step DDQN stack, batch 256"] = trained(backend, wait, (84, 84), images)
    return found


def next_states(buffer: tri.Buffer, size: int) -> Any:
    return buffer.sample(size).next_states


def copied(backend: tri.Backend, wait: Callable[[Any], object]) -> float:
    source = backend.zeros((256 * 5, 84, 84), "uint8")
    return timed(lambda: backend.xp.asarray(source, copy=True), wait, 100)


def trained(
    backend: tri.Backend, wait: Callable[[Any], object], shape: tuple[int, ...], options: dict[str, Any]
) -> float:
    model = learner(backend, shape, options)
    return timed(lambda: model.train_step().reshape(1), wait, 50)


def learner(backend: tri.Backend, shape: tuple[int, ...], options: dict[str, Any]) -> tri.DDQN:
    """Return a DDQN whose memory holds 3,000 rows."""
    model = tri.DDQN(shape, 4, 10_000, batch_size=256, backend=backend, seed=0, **options)
    dtype = options.get("obs_dtype", "float32")
    obs = np.random.default_rng(0).integers(0, 2, (CHUNK, *shape)).astype(dtype)
    rest = (np.zeros(CHUNK, backend.default_int), np.ones(CHUNK, np.float32), np.zeros(CHUNK, bool))
    for _ in range(3):
        model.memory.extend(obs, *rest)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--name", default="", help="of the device, for the table")
    options = parser.parse_args()
    found = {
        "torch": measure("torch", options.device),
        "jax": measure("jax", "gpu" if options.device == "cuda" else options.device),
    }
    save("device", {"device": options.name or options.device, **found})
    write_table()


def write_table() -> None:
    """Write docs/results/device.json as the table of docs/reference/speed.md."""
    found = load("device")
    lines = [f"| on {found['device']}, microseconds | torch | JAX |", "|---|--:|--:|"]
    for what in found["torch"]:
        lines.append(f"| {what} | {found['torch'][what]:,.0f} | {found['jax'][what]:,.0f} |")
    put("reference/speed.md", lines, "device")


if __name__ == "__main__":
    main()
