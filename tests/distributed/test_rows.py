"""Rows of a ShardedBuffer are those of a Buffer with the same steps, on every backend."""

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import Filled, alone, check_rows, flat, sharded, steps
from trifolium.backend import as_numpy
from trifolium.distributed import ShardedBuffer
from trifolium.testing.cases import OPTIONS, fill

SHAPES = {
    "structured": {
        "obs_shape": {"camera": ((2, 2), "uint8"), "place": (3,)},
        "n_frames": {"camera": 2},
    }
}


def dataset(memory: ShardedBuffer, count: int, prefetch: int) -> list[tri.Batch]:
    return list(memory.as_dataset(8, count, prefetch=prefetch))


@pytest.mark.parametrize("name", OPTIONS)
def test_batches_hold_the_rows_of_one_buffer(backend: tri.Backend, name: str) -> None:
    memory = sharded(backend, **OPTIONS[name] | {"n_streams": 4})
    buffer = alone(memory)
    for seed in range(3):  # until rings are full
        fill(Filled(memory), 20, seed)
        fill(Filled(buffer), 20, seed)
        assert memory.drawable == buffer.drawable
        assert len(memory) == len(buffer)
        check_rows(memory, buffer, memory.sample(16))
    for batch in dataset(memory, 3, prefetch=4):
        check_rows(memory, buffer, batch)
    again = memory.sample(16)
    check_rows(memory, buffer, memory.fetch(again.indices[::-1].copy()))


def test_structured_rows(backend: tri.Backend) -> None:
    memory = sharded(backend, **SHAPES["structured"])
    buffer = alone(memory)
    rng = np.random.default_rng(0)
    for target_steps in [
        {
            "obs": {"camera": rng.integers(0, 9, (30, 4, 2, 2)), "place": rng.normal(size=(30, 4, 3))},
            "action": np.zeros((30, 4), int),
            "reward": np.ones((30, 4)),
            "done": rng.random((30, 4)) < 0.2,
        }
    ]:
        memory.extend(**target_steps)
        buffer.extend(**target_steps)
    batch = memory.sample(8)
    expected = buffer.fetch(flat(memory, batch.indices))
    for part in ("camera", "place"):
        for name in ("states", "next_states"):
            found, wanted = getattr(batch, name)[part], getattr(expected, name)[part]
            assert np.array_equal(as_numpy(found), as_numpy(wanted))


@pytest.mark.parametrize("sampler", [tri.Uniform, tri.Prioritized])
@pytest.mark.parametrize("within_episode", [False, True])
def test_sequences_hold_the_rows_of_one_buffer(
    backend: tri.Backend, sampler: type[tri.Sampler], within_episode: bool
) -> None:
    memory = sharded(backend, sampler=sampler)
    buffer = alone(memory)
    rng = np.random.default_rng(0)
    given = steps(rng, 60, 4)
    memory.extend(**given)
    buffer.extend(**given)
    batch = memory.sample_sequences(6, 4, within_episode=within_episode, flatten=False)
    first = flat(memory, batch.indices)
    for place in range(4):
        expected = buffer.fetch(first + place * 4, flatten=False)
        for name in ("states", "rewards", "dones", "discounts"):
            found = backend.to_numpy(getattr(batch, name))[:, place]
            np.testing.assert_array_equal(found, backend.to_numpy(getattr(expected, name)))
    if within_episode:  # no episode ends before the last step of a run
        assert not backend.to_numpy(batch.dones)[:, :-1].any()


def test_a_learner_trains_on_it(learner: tri.Backend) -> None:
    memory = sharded(learner, sampler=tri.Prioritized())
    rng = np.random.default_rng(0)
    memory.extend(**steps(rng, 30, 4))
    for kind in (tri.DDQN, tri.IQN):
        model = kind(2, 2, 120, memory=memory, batch_size=16, hidden=(8,), seed=0)
        losses = [float(model.train_step()) for _ in range(3)]
        assert all(np.isfinite(losses))
        assert losses != [0.0] * 3
    assert isinstance(memory, tri.ReplayMemory)


@pytest.mark.parametrize("n_frames", [1, 3])
def test_recent_frames_and_steps_are_those_of_one_buffer(backend: tri.Backend, n_frames: int) -> None:
    memory = sharded(backend, n_frames=n_frames)
    buffer = alone(memory)
    assert memory.last_transition() is None
    rng = np.random.default_rng(0)
    for number in range(12):
        given = steps(rng, 4)
        for each in (memory, buffer):
            each.add(**given)
            if number in (4, 9):
                each.add_empty(1)
        for stream in range(4):
            found, wanted = (each.current_state(stream) for each in (memory, buffer))
            np.testing.assert_array_equal(backend.to_numpy(found), backend.to_numpy(wanted))
            for offset in (0, 2):
                assert memory.last_transition(offset, stream) == buffer.last_transition(offset, stream)
    assert len(memory) == len(buffer)
    check_rows(memory, buffer, memory.sample(16))
    with pytest.raises(ValueError, match="stream=4 does not exist; expected 0 to 3"):
        memory.current_state(4)


def test_recent_frames_of_a_dead_shard() -> None:
    memory = sharded(n_frames=2)
    memory.add(**steps(np.random.default_rng(0), 4))
    memory.current_state()
    memory.transport.kill(0)  # type: ignore[attr-defined]
    died = pytest.warns(RuntimeWarning, match="shard 0 died")
    with died, pytest.raises(ConnectionError, match=r"stream=1 died, .* expected end_episode\(1\)"):
        memory.current_state(1)


def test_fewer_rows_than_asked_for() -> None:
    memory = sharded()
    with pytest.raises(tri.NotEnoughTransitions, match=r"batch_size=4 .* \(0\)"):
        memory.sample(4)
    memory.extend(**steps(np.random.default_rng(0), 3, 4))
    done = memory.drawable
    assert len(memory.sample(done).indices) == done
    with pytest.raises(tri.NotEnoughTransitions):
        memory.sample(done + 1)
    with pytest.raises(tri.NotEnoughTransitions, match="sequences of length 50"):
        memory.sample_sequences(1, 50)
    with pytest.raises(tri.NotEnoughTransitions, match="within an episode"):
        memory.sample_sequences(1, 50, within_episode=True)


def test_indices_that_are_not_stored() -> None:
    memory = sharded()
    memory.extend(**steps(np.random.default_rng(0), 10, 4))
    old = memory.sample(8).indices
    memory.extend(**steps(np.random.default_rng(0), 60, 4))
    with pytest.raises(IndexError, match="8 rows that are not stored"):
        memory.fetch(old)
    with pytest.raises(IndexError, match="not stored"):
        memory.fetch([2**62])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 5}, "shards=5 with n_streams=4; expected at most 4"),
        ({"shards": 0}, "shards=0"),
        ({"capacity": 121}, "not divisible"),
        (
            {"sampler": tri.Hindsight(lambda *_: 0.0)},
            "Hindsight, which shards can't draw with; .* add each",
        ),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        sharded(**options)
