"""Draws of valid rows alone, and of sequences: uniform, by priority, within an episode."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

import trifolium as tri

ROUNDS = 600


def filled(backend: tri.Backend, **options: Any) -> tri.Buffer:
    """Return a buffer of episodes of 1 to 6 steps, the observation of a row being its number."""
    buffer = tri.Buffer(60, (1,), backend=backend, seed=0, extras={"episode": "int32"}, **options)
    step = 0
    for episode in range(24):
        for place in range(1 + episode % 6):
            last = place == episode % 6
            buffer.add(
                [step],
                0,
                1.0,
                last and episode % 3 == 0,
                truncated=last and episode % 3 != 0,
                next_obs=[-1 if last else step + 1] if episode % 2 else None,
                episode=episode,
            )
            step += 1
    return buffer


def chi_square(counts: Counter[int], expected: dict[int, float]) -> float:
    total = sum(counts.values())
    return sum((counts[each] - total * p) ** 2 / (total * p) for each, p in expected.items())


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_valid_rows_are_drawn_alike(backend: tri.Backend, replacement: bool, n_frames: int) -> None:
    sampler = tri.Uniform(valid_only=True, replacement=replacement)
    buffer = filled(backend, n_frames=n_frames, sampler=sampler)
    every = tri.Buffer.from_state(buffer.state(), seed=0)
    batch = every.sample(every.drawable)
    valid = batch.indices[backend.to_numpy(batch.valid)[:, 0] == 1].tolist()
    size = len(valid) // 2
    counts: Counter[int] = Counter()
    for _ in range(ROUNDS):
        found = buffer.sample(size)
        assert backend.to_numpy(found.valid).all()
        drawn = found.indices.tolist()
        assert replacement or len(set(drawn)) == size
        counts.update(drawn)
    assert counts.keys() == set(valid)
    # the 99.99th percentile of chi-square; without replacement the counts vary less
    assert (
        chi_square(counts, dict.fromkeys(valid, 1 / len(valid)))
        < len(valid) + 4 * np.sqrt(2 * len(valid)) + 10
    )


def test_few_valid_rows_are_found(backend: tri.Backend) -> None:
    buffer = tri.Buffer(4_000, (1,), backend=backend, seed=0, sampler=tri.Uniform(valid_only=True))
    for step in range(3_000):
        buffer.add([step], 0, 1.0, step in (7, 2_000), truncated=True)
    assert sorted(buffer.sample(2).indices.tolist()) == [7, 2_000]
    with pytest.raises(
        tri.NotEnoughTransitions, match=r"valid transitions than can be drawn now \(2\)"
    ):
        buffer.sample(3)


@pytest.mark.parametrize("prioritized", [False, True])
def test_runs_within_an_episode(backend: tri.Backend, prioritized: bool) -> None:
    buffer = filled(backend, sampler=tri.Prioritized() if prioritized else None)
    counts: Counter[int] = Counter()
    for _ in range(ROUNDS // 4):
        batch = buffer.sample_sequences(4, 3, within_episode=True)
        states, episodes = (backend.to_numpy(a) for a in (batch.states, batch.extras["episode"]))
        assert np.all(np.diff(states[..., 0], axis=1) == 1)  # no boundary row is inside
        assert np.all(episodes == episodes[:, :1])
        assert not backend.to_numpy(batch.dones)[:, :-1].any()
        counts.update(batch.indices.tolist())
    stored = [int(each) for each in backend.to_numpy(buffer[:][0])[:, 0]]
    episode_of = dict(
        zip(stored, backend.to_numpy(buffer.extra_data["episode"]).tolist(), strict=False)
    )
    assert len(counts) > 10
    assert episode_of
    with pytest.raises(tri.NotEnoughTransitions, match="length 7"):
        buffer.sample_sequences(1, 7, within_episode=True)


@pytest.mark.parametrize("prioritized", [False, True])
def test_one_seed_draws_the_same_rows(backend: tri.Backend, prioritized: bool) -> None:
    """So the law of these draws is that of NumPy, see test_uniformity.py."""

    def drawn(backend: tri.Backend) -> list[list[int]]:
        sampler = tri.Prioritized() if prioritized else tri.Uniform(valid_only=True)
        buffer = filled(backend, n_frames=2, boundary="pad", sampler=sampler)
        runs = [buffer.sample_sequences(4, 3, within_episode=within) for within in (False, True)]
        return [batch.indices.tolist() for batch in (buffer.sample(8), *runs)]

    assert drawn(backend) == drawn(tri.get_backend("numpy"))


def test_runs_are_drawn_by_the_priority_of_their_first_row(backend: tri.Backend) -> None:
    buffer = tri.Buffer(16, (1,), backend=backend, seed=0, sampler=tri.Prioritized(alpha=1.0, beta=1.0))
    for step in range(11):
        buffer.add([step], 0, 1.0, False)
    errors = np.arange(1.0, 11.0)
    buffer.update_priorities(np.arange(10), errors)
    counts: Counter[int] = Counter()
    for _ in range(ROUNDS):
        batch = buffer.sample_sequences(4, 3)
        counts.update(batch.indices.tolist())
        weights = backend.to_numpy(batch.weights)[..., 0]
        exact = errors[batch.indices].min() / errors[batch.indices]
        assert np.allclose(weights, exact[:, None], rtol=1e-4)
    first = errors[:8] / errors[:8].sum()  # the last two begin no run of three
    assert chi_square(counts, dict(enumerate(first))) < 29.9  # 7 degrees, 99.99th percentile
    assert set(counts) == set(range(8))


def test_priorities_before_the_first_draw_count(backend: tri.Backend) -> None:
    buffer = tri.Buffer(16, (1,), backend=backend, seed=0, sampler=tri.Prioritized(alpha=1.0))
    for step in range(11):
        buffer.add([step], 0, 1.0, False)
    buffer.update_priorities(np.arange(9), np.zeros(9))
    drawn = np.concatenate([buffer.sample(4).indices for _ in range(20)])
    assert set(drawn.tolist()) == {9}


def test_beta_follows_its_schedule(backend: tri.Backend, tmp_path: object) -> None:
    from trifolium.schedules import Linear

    sampler = tri.Prioritized(alpha=1.0, beta=Linear(0.0, 1.0, steps=2))
    buffer = tri.Buffer(16, (1,), backend=backend, seed=0, sampler=sampler)
    for step in range(11):
        buffer.add([step], 0, 1.0, False)
    errors = np.arange(1.0, 11.0)
    buffer.update_priorities(np.arange(10), errors)

    def check(buffer: tri.Buffer, beta: float) -> None:
        batch = buffer.sample(6)
        drawn = errors[batch.indices]
        found = backend.to_numpy(batch.weights)[:, 0]
        assert np.allclose(found, (drawn.min() / drawn) ** beta, rtol=1e-4)

    check(buffer, 0.0)
    check(buffer, 0.5)
    path = f"{tmp_path}/buffer"
    buffer.save(path)
    for each in (buffer, tri.Buffer.load(path, backend=backend)):
        check(each, 1.0)


def test_rare_first_rows_are_drawn_by_their_priorities() -> None:
    """Most of the mass is on rows that no run can begin with, so many draws are dropped."""
    steps, length = 24_000, 12
    buffer = tri.Buffer(steps, (1,), seed=0, sampler=tri.Prioritized(alpha=1.0, epsilon=1e-6))
    number = np.arange(steps)
    ends = number % length == length - 1
    buffer.extend(number[:, None], np.zeros(steps, int), np.zeros(steps), ends)
    firsts = np.flatnonzero(number % length == 0)
    heavy = firsts % (2 * length) == 0
    buffer.update_priorities(firsts, np.where(heavy, 0.2, 0.1))
    drawn = np.concatenate(
        [buffer.sample_sequences(32, length, within_episode=True).indices for _ in range(100)]
    )
    assert np.all(drawn % length == 0)
    share = np.mean(drawn % (2 * length) == 0)
    assert abs(share - 2 / 3) < 5 * (2 / 9 / len(drawn)) ** 0.5
