"""Draws over shards have the law of draws from one buffer: chi-square tests, seeds fixed."""

import itertools
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import alone, flat, masses, sharded, steps
from trifolium.distributed import ShardedBuffer, draws, splits
from trifolium.replay.host.sumtree import SumTree


def uneven(fills: list[int], **options: Any) -> ShardedBuffer:
    """Return a memory with a stream in each shard, and these drawable rows in each."""
    memory = sharded(n_streams=len(fills), shards=len(fills), capacity=40 * len(fills), **options)
    for stream, fill in enumerate(fills):
        if fill:
            rng = np.random.default_rng(stream)
            memory.extend(**steps(rng, fill + 1) | {"done": np.zeros(fill + 1)}, stream=stream)
    return memory


def chi_square(drawn: Counter[Any], expected: Mapping[Hashable, float]) -> float:
    """Return how many standard deviations chi-square is above its mean."""
    assert drawn.keys() <= expected.keys()
    found = sum((drawn[key] - mean) ** 2 / mean for key, mean in expected.items())
    freedom = len(expected) - 1
    return float((found - freedom) / (2 * freedom) ** 0.5)


def subsets(memory: ShardedBuffer, size: int, count: int) -> float:
    """Return the chi-square of which ``size`` of all rows come together."""
    drawn: Counter[Any] = Counter()
    for _ in range(count):
        drawn[tuple(sorted(memory.draw(size)[2].tolist()))] += 1
    every = sorted({index for found in drawn for index in found})
    assert len(every) == memory.drawable
    together = list(itertools.combinations(every, size))
    return chi_square(drawn, dict.fromkeys(together, count / len(together)))


def test_every_set_of_rows_is_equally_likely() -> None:
    assert abs(subsets(uneven([7, 0, 3]), 3, 3600)) < 4


def test_a_multinomial_split_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = splits.uniform_counts

    def multinomial(rng: Any, drawable: Any, batch_size: int, *, replacement: bool) -> np.ndarray:
        while True:
            found = real(rng, drawable, batch_size, replacement=True)
            if np.all(found <= drawable):
                return found

    monkeypatch.setattr(draws, "uniform_counts", multinomial)
    assert subsets(uneven([7, 0, 3]), 3, 3600) > 8


def test_with_more_rows_than_numpys_law_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MOST_ROWS", 5)
    assert abs(subsets(uneven([7, 0, 3]), 2, 1800)) < 4


@pytest.mark.parametrize("prefetch", [0, 6])
def test_uniform_while_the_shards_fill(prefetch: int) -> None:
    memory = uneven([9, 2, 0])
    rng = np.random.default_rng(5)
    drawn: Counter[int] = Counter()
    mean: Counter[int] = Counter()
    spread = 0.0
    for step in range(1200):
        if step % 40 == 39:  # rings of 40 rows: the first one wraps
            stream = int(rng.integers(3))
            memory.extend(**steps(rng, 6) | {"done": np.zeros(6)}, stream=stream)
        reachable = every(memory)
        batches = list(memory.as_dataset(4, 6, prefetch=prefetch)) if prefetch else [memory.sample(4)]
        for batch in batches:
            drawn.update(batch.indices.tolist())
            share = 4 / len(reachable)
            mean.update(dict.fromkeys(reachable, share))
            spread += len(reachable) * share * (1 - share)
    assert drawn.keys() <= mean.keys()
    squares = sum((drawn[key] - each) ** 2 for key, each in mean.items())
    assert abs(squares / spread - 1) < 4 * (2 / len(mean)) ** 0.5


def every(memory: ShardedBuffer) -> list[int]:
    """Return the indices of all rows that can be drawn."""
    memory._refresh()
    return [
        index
        for shard in range(memory.shards)
        for index in memory._group.global_indices(
            shard, memory._group.ask(shard, "every", "", 1).indices
        ).tolist()
    ]


@pytest.mark.parametrize("rule", ["valid", "episode"])
@pytest.mark.parametrize("few", [False, True])
def test_runs_that_follow_a_rule_are_equally_likely(rule: str, few: bool) -> None:
    sampler = tri.Uniform(valid_only=rule == "valid")
    memory = sharded(n_streams=3, shards=2, n_frames=2, sampler=sampler)
    rng = np.random.default_rng(1)
    for stream, fill in enumerate([30, 11, 17]):
        done = rng.random(fill) < (0.75 if few else 0.2)
        memory.extend(**steps(rng, fill) | {"done": done}, stream=stream)
    span = 2 if rule == "episode" else 1

    def draw() -> tri.Batch:
        if span == 1:
            return memory.sample(3)
        return memory.sample_sequences(3, span, within_episode=True)

    memory._paced.refresh(span)
    allowed = [
        index
        for shard in range(2)
        for index in memory._group.global_indices(
            shard, memory._group.ask(shard, "every", rule, span).indices
        ).tolist()
    ]
    drawn: Counter[int] = Counter()
    for _ in range(600):
        batch = draw()
        assert len(set(batch.indices.tolist())) == 3
        if span == 1:
            assert batch.valid.all()
        drawn.update(batch.indices.tolist())
    share = 3 / len(allowed)
    squares = sum((drawn[key] - 600 * share) ** 2 for key in allowed)
    assert drawn.keys() <= set(allowed)
    expected = len(allowed) * 600 * share * (1 - share)
    assert abs(squares / expected - 1) < 4 * (2 / len(allowed)) ** 0.5


def prioritized(beta: Any = 0.4) -> tuple[ShardedBuffer, tri.Buffer]:
    """Return a memory and a buffer with the same steps and priorities, given in the same order."""
    memory = sharded(
        n_streams=5, shards=3, capacity=2500, n_frames=2, sampler=tri.Prioritized(beta=beta)
    )
    buffer = alone(memory)
    rng = np.random.default_rng(2)
    for scale in (1.0, 0.1, 30.0, 5.0):
        given = steps(rng, 170, 5)
        memory.extend(**given)
        buffer.extend(**given)
        batch = memory.sample(64)
        buffer.sample(64)
        errors = rng.normal(size=64) * scale
        memory.update_priorities(batch.indices, errors)
        buffer.update_priorities(flat(memory, batch.indices), errors)
    return memory, buffer


def tree_of(buffer: tri.Buffer) -> SumTree:
    assert isinstance(buffer.sampler, tri.Prioritized)
    leaves, _ = buffer.sampler.masses(buffer._store)
    tree = SumTree(len(leaves))
    tree.assign(np.arange(len(leaves)), leaves)
    return tree


def test_masses_are_those_of_one_buffer() -> None:
    memory, buffer = prioritized()
    memory._refresh()
    tree, ring = tree_of(buffer), buffer._store.ring
    rows = np.flatnonzero(tree.leaves)
    indices = ring.indices(*ring.identify(rows))
    found = masses(memory)
    assert sorted(found) == sorted(indices.tolist())
    assert [found[index] for index in indices.tolist()] == tree.values(rows).tolist()


@pytest.mark.parametrize("prefetch", [0, 8])
def test_targets_find_the_rows_of_one_tree(prefetch: int) -> None:
    memory, buffer = prioritized()
    tree, ring, rng = tree_of(buffer), buffer._store.ring, np.random.Generator(np.random.Philox(0))
    memory._refresh()
    rng.bit_generator.state = memory.rng.bit_generator.state
    same, total, beta = 0, 0, 0.4
    for batch in memory.as_dataset(256, 200, prefetch=prefetch):
        rows = tree.find(splits.stratified(rng, tree.total, 256))
        expected = ring.indices(*ring.identify(rows))
        same += int((flat(memory, batch.indices) == expected).sum())
        total += 256
        drawn = tree.values(ring.current_rows(flat(memory, batch.indices))[0])
        weights = (drawn.min() / drawn) ** beta
        np.testing.assert_array_equal(batch.weights[:, 0], weights.astype(np.float32))
    assert total == 51_200
    assert same >= 51_198  # sums are rounded in another order


def test_weights_are_those_of_the_probability_really_drawn_with() -> None:
    """Between the split and the draw, one shard's mass grows: its rows are drawn less often each."""
    memory = uneven([20, 20], sampler=tri.Prioritized(alpha=1.0, beta=1.0))
    memory._refresh()
    draw = memory._draws.begin(16, 1)
    before = [status.mass for status in memory._group.statuses if status]
    handle = draw.handles[1]
    memory._group.ask(1, "write", pieces(memory, 1, 15))  # too late for the split
    wanted = memory._draws._targets(16, 1)
    assert wanted[1].mass == before[1]
    [late] = memory._draws.finish(draw._replace(handles=memory._group.begin("draw", wanted)))
    assert late is not None
    assert handle is not None
    masses_now = [memory._group.ask(shard, "status").mass for shard in range(2)]
    shards = late.indices >> 53
    chance = np.where(shards == 0, 1 / masses_now[0], 1 / masses_now[1])  # all rows have mass 1
    expected = chance.min() / chance
    np.testing.assert_allclose(late.packed.scalars[4, :, 0], expected, rtol=1e-6)
    assert masses_now[1] > before[1]


def pieces(memory: ShardedBuffer, stream: int, count: int) -> Any:
    writer = memory._writer_of(np.array([stream]), 10_000)
    rng = np.random.default_rng(0)
    writer.extend(**steps(rng, count) | {"done": np.zeros(count)})
    sent: list[Any] = []
    writer._outlet.send = lambda shard, found: sent.extend(found)  # type: ignore[method-assign]
    writer.flush()
    return sent


def test_sequences_by_priority() -> None:
    memory = uneven([12, 5], sampler=tri.Prioritized(alpha=1.0))
    indices = np.array(every(memory))
    memory.update_priorities(indices, 1.0 + np.arange(len(indices)))
    memory._paced.refresh(3)
    found = {}
    for shard in range(2):
        answer = memory._group.ask(shard, "every", "", 3)
        found |= zip(
            memory._group.global_indices(shard, answer.indices).tolist(), answer.masses, strict=True
        )
    total = sum(found.values())
    drawn: Counter[int] = Counter()
    for _ in range(800):
        drawn.update(memory.sample_sequences(4, 3).indices.tolist())
    expected = {index: 3200 * mass / total for index, mass in found.items()}
    assert abs(chi_square(drawn, expected)) < 4


def test_beta_may_be_a_schedule() -> None:
    memory, _ = prioritized(beta=tri.Linear(0.0, 1.0, steps=6))
    assert memory.sampler.beta_now == pytest.approx(4 / 6)
    memory.sample(8)
    assert memory.sampler.beta_now == pytest.approx(5 / 6)
