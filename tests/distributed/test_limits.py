"""Samples per insert: the arithmetic, and a learner and writers that wait for each other."""

import threading

import numpy as np
import pytest

from tests.distributed.twins import sharded, steps
from trifolium.distributed import SamplesPerInsert


@pytest.mark.parametrize(
    ("ratio", "slack", "batch"), [(8.0, None, 256), (0.5, 1.0, 64), (4.0, 100.0, 128), (3.0, 0.1, 1)]
)
def test_neither_side_waits_for_ever_and_both_keep_the_ratio(
    ratio: float, slack: float | None, batch: int
) -> None:
    limit = SamplesPerInsert(ratio, slack, start=500)
    rng = np.random.default_rng(0)
    drawn = stored = 0
    for _ in range(4000):
        may_draw = limit.may_draw(drawn, stored, batch)
        may_store = limit.steps_left(drawn, stored) > 0
        assert may_draw or may_store
        if may_draw and (not may_store or rng.random() < 0.5):
            drawn += batch
        else:
            stored += 1
        most = limit._slack(batch)
        assert drawn == 0 or drawn <= (stored - 500) * ratio + most
        assert (stored - 500) * ratio <= drawn + most + 2 * ratio


def test_in_process_a_learner_waits_for_a_writer() -> None:
    memory = sharded(samples_per_insert=SamplesPerInsert(4, slack=8, start=60), capacity=400)
    writer = memory.writer(streams=4, chunk=4)
    rng = np.random.default_rng(0)

    def write() -> None:
        for _ in range(200):
            writer.add(**steps(rng, 4))

    thread = threading.Thread(target=write)
    thread.start()
    eventually = threading.Event()
    while memory.steps < 60:
        eventually.wait(0.001)
    for _ in range(90):
        memory.sample(32)
        assert memory.drawn <= (memory.steps - 60) * 4 + 32
    thread.join()
    assert memory.drawn == 90 * 32
    writer.flush()
    assert memory.steps == 800


def test_a_learner_does_not_wait_for_ever() -> None:
    limit = SamplesPerInsert(1, slack=8, timeout=0.05)
    memory = sharded(samples_per_insert=limit)
    writer = memory.writer(streams=4, chunk=4)
    writer.extend(**steps(np.random.default_rng(0), 5, 4))
    memory.sample(16)
    memory.sample(16)
    with pytest.raises(TimeoutError, match="32 rows were drawn and 20 steps stored"):
        memory.sample(16)


def test_who_adds_all_steps_is_not_made_to_wait() -> None:
    memory = sharded(samples_per_insert=1)
    memory.extend(**steps(np.random.default_rng(0), 5, 4))
    for _ in memory.as_dataset(16, 300, prefetch=8):
        pass
    assert memory.drawn == 4800


def test_minibatches_ahead_keep_the_ratio() -> None:
    memory = sharded(samples_per_insert=SamplesPerInsert(2, slack=16), capacity=4000)
    writer = memory.writer(streams=4, chunk=4)
    rng = np.random.default_rng(0)
    writer.extend(**steps(rng, 30, 4))
    for _ in memory.as_dataset(16, 40, prefetch=6):
        writer.extend(**steps(rng, 2, 4))
        assert memory.drawn <= memory.steps * 2 + 48


@pytest.mark.parametrize("name", ["ratio", "slack", "start", "timeout"])
def test_bad_options(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-1"):
        SamplesPerInsert(**{"ratio": 1, name: -1})  # type: ignore[arg-type]


def test_a_limit_is_told_to_the_shards() -> None:
    memory = sharded(samples_per_insert=SamplesPerInsert(2, slack=16))
    writer = memory.writer(streams=4)
    writer.extend(**steps(np.random.default_rng(0), 5, 4))
    writer.flush()
    assert all(memory._group.ask(shard, "is_open") for shard in range(3))
    memory.sample(16)
    memory._refresh()
    assert not any(memory._group.ask(shard, "is_open") for shard in range(3))
    memory._group.limit(3)
    memory._refresh()
    assert all(memory._group.ask(shard, "is_open") for shard in range(3))
