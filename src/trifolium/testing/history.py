"""Random histories of a Twin from a seed, for tests that need reproducible ones."""

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
    Options(9, n_frames=2, valid_only=True),
    Options(24, n_frames=3, n_streams=2, n_step=2, is_structured=True),
]
"""Options that between them reach every path; rings of few rows, so that they wrap again and again."""


OPERATIONS = ["add", "add", "add", "add each", "extend", "extend each", "end"]
OPERATIONS += ["add empty", "add from", "draw", "draw runs", "clear"]


def wander(twin: Twin, seed: int, operations: int, check: Callable[[Twin], object]) -> None:
    """Do ``operations`` to ``twin``, and call ``check`` with it after each."""
    rng = random.Random(seed)
    n_streams = twin.options.n_streams
    drawn: list[int] = []
    for _ in range(operations):
        stream = rng.randrange(n_streams)
        match rng.choice(OPERATIONS):
            case "add":
                end = rng.choice(["", "done", "truncated", "unknown"])
                twin.add(*[""] * rng.randrange(6), end, stream=stream)
            case "add each" if n_streams > 1:
                some = ["", "done", rng.choice(["truncated", "unknown"]), rng.choice([None, ""])]
                twin.add_each([rng.choice(some) for _ in range(n_streams)])
            case "extend":
                end = rng.choice(["", "done", "truncated", "unknown"])
                twin.extend([*[""] * rng.randrange(6), end, *[""] * rng.randrange(3)], stream)
            case "extend each":
                all_ends = ["", "", "", "done", "truncated"]
                twin.extend_each(
                    [
                        [rng.choice(all_ends) for _ in range(n_streams)]
                        for _ in range(rng.randrange(1, 7))
                    ]
                )
            case "end":
                twin.end_episode(rng.choice([None, stream]))
            case "add empty":
                twin.add_empty(rng.choice([None, stream]))
            case "add from":
                structure = twin.options.is_structured
                other = Twin(
                    twin.backend, Options(6 * n_streams, 2, n_streams, is_structured=structure)
                )
                other.add(*[""] * rng.randrange(8), "truncated", "", stream=stream)
                twin.add_from(other)
            case "draw" if twin.options.prioritized:
                drawn += twin.check_sample(4) + twin.check_sequences(2, 2, within_episode=True)
                drawn += twin.check_sequences(2, 1)
                indices = drawn[-24::4]
                twin.update_priorities(indices, [rng.uniform(-4, 4) for _ in indices])
            case "draw runs" if not twin.options.prioritized:
                twin.check_sequences(2, 3, within_episode=n_streams > 1)
            case "clear" if rng.random() < 0.3:
                twin.clear()
        check(twin)
