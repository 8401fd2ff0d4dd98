"""Writers store what a Buffer stores, and claim streams."""

import pickle
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import alone, check_rows, flat, sharded, steps
from trifolium.distributed import ShardedBuffer, Writer


def stored(memory: ShardedBuffer, buffer: tri.Buffer) -> None:
    """Assert that both hold the same rows."""
    assert len(memory) == len(buffer)
    assert memory.drawable == buffer.drawable
    memory._refresh()
    for shard in range(memory.shards):
        rows = memory._group.ask(shard, "every", "", 1).indices
        indices = memory._group.global_indices(shard, rows)
        if len(indices):
            check_rows(memory, buffer, memory.fetch(indices))


@pytest.mark.parametrize("seed", range(8))
def test_random_calls_store_what_a_buffer_stores(seed: int) -> None:
    options = {"n_frames": 1 + seed % 2, "n_step": 1 + seed % 3, "extras": {"tag": "int32"}}
    memory = sharded(n_streams=5, shards=2 + seed % 2, capacity=150, **options)
    buffer = alone(memory)
    writers = [memory.writer(streams=[3, 0, 2], chunk=7), memory.writer(streams=2, chunk=11)]
    owned = [np.array([0, 2, 3]), np.array([1, 4])]
    rng = np.random.default_rng(seed)
    for _ in range(60):
        which = int(rng.integers(2))
        call(rng, writers[which], buffer, owned[which])
        if rng.random() < 0.1:
            for writer in writers:
                writer.flush()
            stored(memory, buffer)
    for writer in writers:
        writer.flush()
        assert not writer.has_pieces
    stored(memory, buffer)


def call(rng: np.random.Generator, writer: Writer, buffer: tri.Buffer, owned: np.ndarray) -> None:
    """Make one random call of a writer, and the same of a buffer, stream by stream."""
    kind = rng.integers(4)
    if kind == 0:
        stream = int(rng.integers(len(owned)))
        writer.end_episode(stream)
        buffer.end_episode(int(owned[stream]))
        return
    count = int(rng.integers(1, 9)) if kind == 1 else 1
    given = steps(rng, count, len(owned))
    given["tag"] = rng.integers(0, 100, (count, len(owned)))
    given["truncated"] = rng.random((count, len(owned))) < 0.2
    if rng.random() < 0.5:
        given["next_obs"] = rng.normal(size=(count, len(owned), 2))
    where = rng.random(len(owned)) < 0.6 if kind == 2 else None
    taken = range(len(owned)) if where is None else np.flatnonzero(where).tolist()
    if kind == 1:
        writer.extend(**given)
    elif kind == 3:
        taken = [int(rng.integers(len(owned)))]
        writer.add(**{name: value[0, taken[0]] for name, value in given.items()}, stream=taken[0])
    else:
        writer.add(**{name: value[0] for name, value in given.items()}, where=where)
    for stream in taken:
        for step in range(count):
            one = {name: value[step, stream] for name, value in given.items()}
            buffer.add(**one, stream=int(owned[stream]))


def test_what_was_given_may_change_afterwards() -> None:
    memory = sharded()
    obs = np.zeros((4, 2), np.float32)
    memory.add(obs, [0] * 4, [0.0] * 4, [True] * 4)
    obs += 1.0
    assert not memory.sample(4).states.any()


def test_bad_steps_change_nothing() -> None:
    memory = sharded()
    writer = memory.writer(streams=2)
    good: dict[str, Any] = steps(np.random.default_rng(0), 2)
    for bad, message in [
        ({"obs": np.zeros((2, 3))}, "obs has shape"),
        ({"done": [2.0, 0.0]}, "done="),
        ({"reward": [1.0, 2.0, 3.0]}, "reward"),
        ({"other": 1}, "unknown: other"),
        ({"obs": np.zeros((5, 2, 2))}, "done has shape"),
        ({"where": [True]}, "where"),
        ({"stream": 2}, "stream=2 does not exist"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            writer.add(**good | bad)
    several = {name: np.repeat(value[None], 3, 0) for name, value in good.items()}
    with pytest.raises(ValueError, match="obs holds 3 steps; expected one of each stream"):
        writer.add(**several)
    assert not writer.has_pieces
    assert len(memory) == 0


def test_streams_are_claimed_once() -> None:
    memory = sharded()
    memory.writer(streams=3)
    with pytest.raises(ValueError, match="streams=2, but 1 of n_streams=4 are free"):
        memory.writer(streams=2)
    with pytest.raises(ValueError, match=r"\[1\] are not free"):
        memory.writer(streams=[1, 3])
    with pytest.raises(ValueError, match="free"):
        memory.add([[0.0, 0.0]] * 4, [0] * 4, [0.0] * 4, [False] * 4)
    assert memory.writer(streams=[3]).n_streams == 1


def test_a_writer_to_this_process_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="address='local' or 'auto'"):
        pickle.dumps(sharded().writer())


def test_priorities_come_before_the_steps_added_after_them() -> None:
    """A step gets the largest priority of the updates before it, as in one buffer."""
    memory = sharded(sampler=tri.Prioritized(alpha=1.0))
    buffer = alone(memory)
    rng = np.random.default_rng(0)
    for scale in (3.0, 7.0, 2.0):
        given = steps(rng, 4)
        for each in (memory, buffer):
            each.add(**given)
            each.add(**given)
        indices = memory.sample(4).indices
        buffer.sample(4)
        memory.update_priorities(indices, np.full(4, scale))
        buffer.update_priorities(flat(memory, indices), np.full(4, scale))
    memory._refresh()
    total = sum(status.mass for status in memory._group.statuses if status)
    assert isinstance(buffer.sampler, tri.Prioritized)
    assert total == pytest.approx(buffer.sampler.total(buffer._store), rel=1e-12)
