"""Made-up histories of a Twin, from a seed: for tests that need one that is the same each time."""

import random
from collections.abc import Callable

from trifolium.testing.twin import Options, Twin

__all__ = ["HISTORIES", "wander"]

HISTORIES = [
    Options(7),
    Options(14, n_streams=2),
    Options(9, n_frames=3),
    Options(9, n_frames=3, boundary="pad"),
    Options(8, n_step=3),
    Options(24, n_frames=2, n_streams=3, n_step=4, boundary="pad"),
    Options(24, n_frames=3, n_streams=4, n_step=2),
    Options(9, n_step=2, prioritized=True),
    Options(24, n_frames=3, n_streams=2, n_step=3, boundary="pad", prioritized=True),
]
"""Options that between them reach every path; rings of few rows, so that they wrap again and again."""


def wander(twin: Twin, seed: int, operations: int, check: Callable[[Twin], object]) -> None:
    """Do ``operations`` to ``twin``, and call ``check`` with it after each."""
    rng = random.Random(seed)
    n_streams = twin.options.n_streams
    drawn: list[int] = []
    for _ in range(operations):
        stream = rng.randrange(n_streams)
        match rng.choice(["add", "add", "add", "add each", "add empty", "add from", "draw", "clear"]):
            case "add":
                end = rng.choice(["", "done", "truncated", "unknown"])
                twin.add(*[""] * rng.randrange(6), end, stream=stream)
            case "add each" if n_streams > 1:
                ends = ["", "done", rng.choice(["truncated", "unknown"])]
                twin.add_each([rng.choice(ends) for _ in range(n_streams)])
            case "add empty":
                twin.add_empty(rng.choice([None, stream]))
            case "add from":
                other = Twin(twin.backend, Options(6 * n_streams, 2, n_streams))
                other.add(*[""] * rng.randrange(8), "truncated", "", stream=stream)
                twin.add_from(other)
            case "draw" if twin.options.prioritized:
                drawn += twin.check_sample(4) + twin.check_sequences(
                    2, 1
                )  # the latter are not all valid
                indices = drawn[-8::2]
                twin.update_priorities(indices, [rng.uniform(-4, 4) for _ in indices])
            case "clear" if rng.random() < 0.3:
                twin.clear()
        check(twin)
