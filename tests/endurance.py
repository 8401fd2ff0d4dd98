"""A million steps of adds, updates and checkpoints: the memory of the process must not grow.

``python tests/endurance.py --backend torch`` ends with an error if the resident memory after the last
step is more than 2% above that after three tenths of them; it prints the memory ten times.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import trifolium as tri

ROWS = 20_000
EPISODE = 200
UPDATE_EVERY, SAVE_EVERY = 10, 10_000
WARM, GROWTH = 0.3, 1.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--steps", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.backend, arguments.steps, Path(folder))
    warm = found[int(len(found) * WARM) :]
    print(f"{arguments.backend}: {max(warm) / warm[0]:.4f} of the memory after {WARM:.0%} of the steps")
    if max(warm) > GROWTH * warm[0]:
        sys.exit("the memory grows")


def run(backend: str, steps: int, folder: Path) -> list[int]:
    """Take the steps; return the resident bytes after each tenth of them."""
    sampler = tri.replay.Prioritized()
    model = tri.DDQN(8, 4, ROWS, backend=backend, hidden=(32,), batch_size=32, seed=0, sampler=sampler)
    rng = np.random.default_rng(0)
    observations = rng.random((1009, 8), np.float32)
    found = []
    for step in range(1, steps + 1):
        obs, action = observations[step % len(observations)], step % 4
        ends = step % EPISODE == 0
        model.memory.add(obs, action, float(action), ends and step % 3 == 0, truncated=ends)
        if step % UPDATE_EVERY == 0 and step > 1_000:
            model.train_step()
            model.take_action(obs[None])
        if step % SAVE_EVERY == 0:
            model.save(folder / "model", memory=True)
            model.load(folder / "model")
        if step % (steps // 10) == 0:
            found.append(resident())
            print(f"{backend}: step {step:,}, {found[-1] / 2**20:.1f} MiB", flush=True)
    return found


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
