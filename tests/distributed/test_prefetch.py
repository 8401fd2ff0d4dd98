"""Minibatches that sample and draw have drawn in advance."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import alone, check_rows, sharded, steps
from trifolium.distributed import SamplesPerInsert
from trifolium.distributed.transport import InProcess


class Counted(InProcess):
    """Shards that count the calls made of them."""

    calls = 0

    def begin(self, number: int, method: str, *args: Any) -> Any:
        self.calls += 1
        return super().begin(number, method, *args)


def test_they_are_those_of_a_dataset(backend: tri.Backend) -> None:
    found = []
    for prefetch in (0, 8):
        memory = sharded(backend, prefetch=prefetch)
        memory.extend(**steps(np.random.default_rng(0), 25, 4))
        if prefetch:
            batches = [memory.sample(16) for _ in range(20)]
        else:
            batches = list(memory.as_dataset(16, 20, prefetch=8))
        found.append([batch.indices.tolist() for batch in batches])
        assert memory.drawn == 20 * 16
    assert found[0] == found[1]


def test_a_learner_makes_few_calls(learner: tri.Backend) -> None:
    calls = []
    for prefetch in (0, 16):
        memory = sharded(learner, prefetch=prefetch, transport=Counted, sampler=tri.Prioritized)
        memory.extend(**steps(np.random.default_rng(0), 25, 4))
        model = tri.DDQN(2, 2, 120, memory=memory, batch_size=16, hidden=(8,), seed=0)
        losses = [float(model.train_step()) for _ in range(40)]
        assert all(np.isfinite(losses))
        assert isinstance(memory.transport, Counted)
        calls.append(memory.transport.calls)
    assert calls[1] * 5 < calls[0]


def test_rows_are_whole_while_rows_are_added_and_batches_change_their_size() -> None:
    memory = sharded(prefetch=4)
    buffer = alone(memory)
    rng = np.random.default_rng(0)
    for number in range(6):
        given = steps(rng, 5, 4)
        memory.extend(**given)
        buffer.extend(**given)
        for size in (8, 8, 8, 4 + number):
            check_rows(memory, buffer, memory.sample(size))


def test_new_rows_come_after_those_in_advance() -> None:
    memory = sharded(prefetch=4, capacity=4000)
    memory.extend(**steps(np.random.default_rng(0), 10, 4))
    memory.sample(8)
    memory.extend(**steps(np.random.default_rng(0), 900, 4))
    new = [memory._group.statuses[0].drawable for _ in range(12) if memory.sample(8)]  # type: ignore[union-attr]
    assert new[0] < 100 < 1000 < new[-1]
    assert memory.drawable == 3636


@pytest.mark.parametrize("prefetch", [4, 64])
def test_they_keep_the_ratio_and_wait_for_no_steps_in_vain(prefetch: int) -> None:
    limit = SamplesPerInsert(2, slack=16, timeout=1.0)
    memory = sharded(samples_per_insert=limit, capacity=4000, prefetch=prefetch)
    writer = memory.writer(streams=4, chunk=4)
    rng = np.random.default_rng(0)
    drawn = 0
    for _ in range(60):
        writer.extend(**steps(rng, 2, 4))
        while memory.may_draw(16):
            memory.sample(16)  # which would raise TimeoutError
            drawn += 16
            assert memory.drawn == drawn
            assert drawn <= memory.steps * 2 + 16
    assert drawn >= 2 * 60 * 8 - 32


def test_too_few_rows_and_then_enough() -> None:
    memory = sharded(prefetch=4)
    with pytest.raises(tri.NotEnoughTransitions):
        memory.sample(4)
    memory.extend(**steps(np.random.default_rng(0), 10, 4))
    assert len(memory.sample(4).indices) == 4
    with pytest.raises(ValueError, match="prefetch=-1"):
        sharded(prefetch=-1)
