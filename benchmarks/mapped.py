"""What it costs to draw a minibatch from mapped files (``path=``), compared with memory.

    python benchmarks/mapped.py     # writes section "Larger than memory" of docs/reference/buffer.md

Two full buffers with the same rows are sampled in turn, so that whatever else the machine does falls on
both alike. The files are warm: the system keeps all of them in memory after they were written. The
ratio is that of the medians.
"""

import argparse
import tempfile
from functools import partial
from typing import Any

import numpy as np
from memories import FRAMEWORKS, awaited
from pages import put, save
from turns import medians

import trifolium as tri

BATCH = 256
CASES: dict[str, dict[str, Any]] = {
    "(4,) float32, 1,000,000 rows": {"capacity": 1_000_000, "obs_shape": (4,)},
    "(84, 84) uint8, 4 frames, 50,000 rows": {
        "capacity": 50_000,
        "obs_shape": (84, 84),
        "n_frames": 4,
        "obs_dtype": "uint8",
    },
}


def filled(backend: str, case: dict[str, Any], path: str | None) -> tri.Buffer:
    """Return a full buffer whose ring has wrapped; in a folder ``path``."""
    buffer = tri.Buffer(**case, backend=backend, seed=0, path=path)
    rng, size = np.random.default_rng(0), 1000
    obs = rng.integers(256, size=(size, *case["obs_shape"])).astype(buffer.spec.leaves[0].dtype)
    done = np.arange(size) % 50 == 49
    for _ in range(case["capacity"] // size + 3):
        buffer.extend(obs, np.zeros(size, int), np.ones(size), done)
    return buffer


def measure(backend: str, case: dict[str, Any]) -> float:
    """Return the time of a draw from mapped files over that of a draw from memory."""
    with tempfile.TemporaryDirectory() as folder:
        buffers = {
            "memory": filled(backend, case, None),
            "mapped": filled(backend, case, f"{folder}/rows"),
        }
        work = {name: awaited(backend, partial(each.sample, BATCH)) for name, each in buffers.items()}
        times = medians(work, rounds=60, calls=10)
    return round(times["mapped"] / times["memory"], 2)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    results = {
        name: {backend: measure(backend, case) for backend in FRAMEWORKS}
        for name, case in CASES.items()
    }
    save("mapped", results)
    lines = [
        "| observations | mapped over memory: NumPy | torch | JAX |",
        "|---|--:|--:|--:|",
    ]
    for name, found in results.items():
        cells = " | ".join(f"{found[backend]:.2f}" for backend in FRAMEWORKS)
        lines.append(f"| {name} | {cells} |")
    put("reference/buffer.md", lines, "mapped")


if __name__ == "__main__":
    main()
