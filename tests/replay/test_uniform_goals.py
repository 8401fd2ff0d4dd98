"""Goals in hindsight are uniform over what an episode reached later: chi-square tests, seeds fixed.

The goals are drawn on the host: test_hindsight.py compares them bit for bit between backends.
"""

from collections import Counter, defaultdict

import numpy as np
import pytest

import trifolium as tri
from trifolium.testing import ReferenceBuffer

from .test_uniformity import BATCHES, check

pytestmark = pytest.mark.slow_on("strict", "torch", "jax")
SHAPE = {"observation": (1,), "achieved_goal": (1,), "desired_goal": (1,)}
WANTED = -1.0
LENGTHS = (7, 1, 4, 11, 2)  # of episodes


class Goals:
    """A buffer that draws in hindsight, and its reference; every observation is a number of its own."""

    def __init__(self, backend: tri.Backend, ratio: float, n_streams: int, fill: float) -> None:
        self.backend, self.number = backend, 0
        sampler = tri.Hindsight(lambda reached, wanted, info: reached[:, 0] * 0, ratio=ratio)
        options = {"n_streams": n_streams}
        capacity = 40 * n_streams
        self.buffer = tri.Buffer(capacity, SHAPE, backend=backend, seed=2, sampler=sampler, **options)
        self.reference = ReferenceBuffer(capacity, 1, **options)
        ends = [end for length in LENGTHS for end in [""] * (length - 1) + ["end"]]
        for step in range(int(40 * fill)):
            for stream in range(n_streams):
                end = ends[(step + stream) % len(ends)]
                if end:
                    end = ("done", "truncated", "unknown")[step % 3]
                self.add(stream, end)

    def add(self, stream: int, end: str) -> None:
        obs, after = (float(self.number + n) for n in range(2))
        self.number += 2 if end == "truncated" else 1
        next_obs = after if end == "truncated" else None
        self.buffer.add(
            self.seen(obs),
            0,
            0.0,
            end == "done",
            truncated=end in ("truncated", "unknown"),
            next_obs=None if next_obs is None else self.seen(next_obs),
            stream=stream,
        )
        given = None if next_obs is None else (next_obs,)
        self.reference.add(stream, (obs,), 0, 0.0, 0, end, given)

    @staticmethod
    def seen(number: float) -> dict[str, list[float]]:
        return {"observation": [number], "achieved_goal": [number], "desired_goal": [WANTED]}

    def reached_later(self) -> dict[float, list[float]]:
        """Return what was reached after each valid row, in its episode."""
        rows = [row for stream in self.reference.streams for row in stream]
        by_episode: dict[int, list[float]] = defaultdict(list)
        for row in rows:
            by_episode[row.episode].append(row.obs[0])
        valid = [found.row for found in self.reference.transitions().values() if found.valid]
        return {
            row.obs[0]: [reached for reached in by_episode[row.episode] if reached > row.obs[0]]
            for row in valid
        }

    def count(self, batch_size: int) -> Counter[tuple[float, float]]:
        """Return how often each row was drawn with each goal."""
        pairs: Counter[tuple[float, float]] = Counter()
        for _ in range(BATCHES):
            states = self.buffer.sample(batch_size).states
            parts = (
                self.backend.to_numpy(states[name])[:, 0] for name in ("observation", "desired_goal")
            )
            pairs.update(zip(*(part.tolist() for part in parts), strict=True))
        return pairs


@pytest.mark.parametrize("fill", [0.5, 1.0, 3.3], ids=["half full", "full", "wrapped"])
@pytest.mark.parametrize("n_streams", [1, 2])
def test_goals(backend: tri.Backend, fill: float, n_streams: int) -> None:
    batch_size = 8
    goals = Goals(backend, 1.0, n_streams, fill)
    reached = goals.reached_later()
    pairs = goals.count(batch_size)
    rows: Counter[float] = Counter()
    for (row, _), number in pairs.items():
        rows[row] += number
    share = (batch_size - 1) / (len(reached) - 1)
    check(rows, dict.fromkeys(reached, BATCHES * batch_size / len(reached)), spread=1 - share)
    chi_square, freedom = 0.0, 0
    for row, later in reached.items():
        found = {goal: number for (drawn, goal), number in pairs.items() if drawn == row}
        later = later or [WANTED]  # a terminated step, after which nothing is reached, keeps its goal
        assert found.keys() == set(later)
        expected = rows[row] / len(later)
        chi_square += sum((number - expected) ** 2 / expected for number in found.values())
        freedom += len(later) - 1
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("ratio", [0.2, 0.8])
def test_which_rows_get_a_goal(backend: tri.Backend, ratio: float) -> None:
    goals = Goals(backend, ratio, 2, 3.3)
    reached = goals.reached_later()
    pairs = goals.count(10)
    deviations = []
    for row in (row for row, later in reached.items() if later):
        kept = pairs[row, WANTED]
        drawn = sum(number for (each, _), number in pairs.items() if each == row)
        deviations.append((drawn - kept - ratio * drawn) / np.sqrt(drawn * ratio * (1 - ratio)))
    # a row is given a goal independently of other batches, so each deviation has variance 1
    assert abs(np.square(deviations).sum() - len(deviations)) < 4 * (2 * len(deviations)) ** 0.5
