"""A shard that dies: draws go on from the others, and old indices are not confused with new rows."""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import masses, sharded, steps
from trifolium.distributed import ShardedBuffer
from trifolium.distributed.indices import unpacked
from trifolium.distributed.transport import InProcess


def filled(**options: object) -> ShardedBuffer:
    memory = sharded(**options)
    memory.extend(**steps(np.random.default_rng(0), 25, 4))
    memory.sample(1)
    return memory


def kill(memory: ShardedBuffer, shard: int) -> None:
    assert isinstance(memory.transport, InProcess)
    memory.transport.kill(shard)


def test_draws_go_on_with_one_warning() -> None:
    memory = filled()
    for _ in range(2):
        kill(memory, 1)
        with pytest.warns(RuntimeWarning, match="shard 1 died") as caught:
            batches = [memory.sample(16) for _ in range(5)]
        assert len(caught) == 1
        for batch in batches:
            assert 1 not in unpacked(batch.indices)[0]
    memory.extend(**steps(np.random.default_rng(1), 25, 4))
    assert 1 in unpacked(memory.sample(60).indices)[0]


@pytest.mark.parametrize("sampler", [tri.Uniform, tri.Prioritized])
def test_a_death_amid_minibatches_that_are_on_their_way(sampler: type[tri.Sampler]) -> None:
    memory = filled(sampler=sampler)
    coming = iter(memory.as_dataset(8, 40, prefetch=8))
    found = list(itertools.islice(coming, 10))
    kill(memory, 2)
    with pytest.warns(RuntimeWarning, match="shard 2 died"):
        found += list(coming)
    assert [len(batch.indices) for batch in found] == [8] * 40
    assert 2 not in unpacked(found[-1].indices)[0]


def test_old_news_of_a_death_change_nothing() -> None:
    memory = filled()
    memory._refresh()
    draw = memory._draws.begin(16, 1)
    kill(memory, 0)
    lost = memory._draws.begin(16, 1)  # fails, and the next call meets the new shard
    with pytest.warns(RuntimeWarning, match="shard 0 died") as caught:
        assert memory._draws.finish(lost) == [None]
    memory._refresh()
    memory._group._lose(0, draw.handles[0][0])
    assert len(caught) == 1
    assert memory._group.incarnations == [1, 0, 0]
    assert None not in memory._group.statuses


def test_all_die() -> None:
    memory = filled()
    for shard in range(3):
        kill(memory, shard)
    with pytest.warns(RuntimeWarning), pytest.raises(tri.NotEnoughTransitions):
        memory.sample(4)
    memory.extend(**steps(np.random.default_rng(1), 25, 4))
    assert len(memory.sample(16).indices) == 16


@pytest.mark.parametrize("is_known", [False, True])
def test_priorities_of_a_dead_shards_rows_are_dropped(is_known: bool) -> None:
    memory = filled(sampler=tri.Prioritized(alpha=1.0))
    old = memory.sample(60).indices
    kill(memory, 0)
    with pytest.warns(RuntimeWarning):
        memory.sample(4)
    memory.extend(**steps(np.random.default_rng(0), 25, 4))  # the same rows, again
    if is_known:  # the driver has heard of the shard that takes its place
        memory._refresh()
    assert set(masses(memory).values()) == {1.0}
    memory.update_priorities(old, np.arange(60.0))
    memory._refresh()
    after = masses(memory)
    shards = unpacked(old)[0]
    assert set(shards.tolist()) == {0, 1, 2}
    fresh = [index for index in after if index % 4 < 2]  # shard 0 has the streams 0 and 1
    assert {after[index] for index in fresh} == {1.0 if is_known else 59.000001}
    assert len(set(after.values())) > 3  # those of the others are taken
    with pytest.raises(IndexError):
        memory.fetch(old[shards == 0])


def test_new_rows_of_a_new_shard_get_the_largest_priority_of_all() -> None:
    memory = filled(sampler=tri.Prioritized(alpha=1.0))
    indices = memory.sample(60).indices
    memory.update_priorities(
        indices[unpacked(indices)[0] == 2], np.full(60, 7.0)[unpacked(indices)[0] == 2]
    )
    kill(memory, 0)
    with pytest.warns(RuntimeWarning):
        memory.sample(4)
    memory.extend(**steps(np.random.default_rng(0), 25, 4))
    memory._refresh()
    found = masses(memory)
    assert {round(found[index], 3) for index in found if index % 4 < 2} == {7.0}


def test_a_shard_comes_back_from_the_last_save(tmp_path: Path) -> None:
    memory = filled()
    memory.save(tmp_path / "memory")
    rows = len(memory)
    kill(memory, 0)
    with pytest.warns(RuntimeWarning, match="with the rows of the last save"):
        memory.sample(4)
    assert len(memory) == rows
    assert memory._group.incarnations == [1, 0, 0]


def test_a_draw_that_finds_fewer_rows_is_made_again() -> None:
    memory = filled(capacity=240)
    draw = memory._draws.begin(16, 1)
    kill(memory, 0)
    memory._group.transport.begin(0, "status")  # replaced before the driver hears of it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = memory._draws.begin(16, 1)
        assert memory._draws.finish(batch) == [None]
    assert memory._group.incarnations == [1, 0, 0]
    assert memory._draws.finish(draw) != [None]
    assert len(memory.sample(16).indices) == 16
