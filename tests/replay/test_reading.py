"""What is read from a buffer without drawing, and what may be brought to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host.samplers import Draw
from trifolium.testing.cases import OPTIONS, fill, made


def test_attributes_are_in_ring_order(backend: tri.Backend) -> None:
    buffer = tri.Buffer(4, (1,), backend=backend, extras={"tag": "int32"})
    for step in range(6):
        buffer.add([step], step, 10.0 * step, done=step == 4, tag=-step)
    assert backend.to_numpy(buffer.states).tolist() == [[4], [5], [2], [3]]
    assert backend.to_numpy(buffer.actions).tolist() == [4, 5, 2, 3]
    assert backend.to_numpy(buffer.rewards).tolist() == [40, 50, 20, 30]
    assert backend.to_numpy(buffer.dones).tolist() == [1, 0, 0, 0]
    assert backend.to_numpy(buffer.extra_data["tag"]).tolist() == [-4, -5, -2, -3]
    assert (buffer.capacity, buffer.obs_shape, buffer.n_frames) == (4, (1,), 1)
    assert (buffer.size, buffer.idx, buffer.getidx(), len(buffer)) == (4, 2, 2, 4)
    assert f"backend='{backend.name}', size=4" in repr(buffer)


def test_what_was_never_written_is_zero(backend: tri.Backend) -> None:
    buffer = tri.Buffer(4, (1,), backend=backend, extras={"tag": "int32"})
    columns = [buffer.states, buffer.actions, buffer.rewards, buffer.dones, buffer.extra_data["tag"]]
    assert all(not backend.to_numpy(column).any() for column in columns)


def test_extra_data_is_a_mapping(backend: tri.Backend) -> None:
    buffer = tri.Buffer(4, (1,), backend=backend, extras={"tag": "int32", "place": ((2,), "float32")})
    found = buffer.extra_data
    assert isinstance(found, Mapping)
    assert (list(found), len(found)) == (["tag", "place"], 2)
    assert "tag" in found
    assert "obs" not in found
    assert found["place"].shape == (4, 2)
    with pytest.raises(KeyError, match="obs"):
        _ = found["obs"]


def test_indexing_is_in_order_of_age(backend: tri.Backend) -> None:
    buffer = tri.Buffer(4, (1,), backend=backend)
    for step in range(6):
        buffer.add([step], step, 10.0 * step, done=step == 4)
    obs, action, reward, done = buffer[0]
    assert (backend.to_numpy(obs).tolist(), action, reward, done) == ([2], 2, 20.0, False)
    assert buffer[-2][1:] == (4, 40.0, True)
    obs, actions, rewards, dones = buffer[::2]
    assert backend.to_numpy(obs).tolist() == [[2], [4]]
    assert [backend.to_numpy(each).tolist() for each in (actions, rewards, dones)] == [
        [2, 4],
        [20, 40],
        [0, 1],
    ]
    assert [backend.to_numpy(row[0]).tolist() for row in buffer] == [[2], [3], [4], [5]]


def test_actions_with_a_shape_are_handed_out_as_copies(backend: tri.Backend) -> None:
    buffer = made(backend, OPTIONS["action vector"])
    fill(buffer, 3, seed=0)
    _, action, *_ = buffer[0]
    last = buffer.last_transition()
    assert last is not None
    expected = action.copy()
    for held in (action, last[0]):
        assert held.shape == (3,)
        held[:] = -1
    assert buffer[0][1].tolist() == expected.tolist()


class Newest(tri.Uniform):
    """Draws the newest rows that can be drawn: a sampler as a user would write it."""

    def draw(self, source: Any, rng: np.random.Generator, batch_size: int) -> Draw:
        ordinals = np.arange(int(source.ring.drawable().sum()))[-batch_size:]
        return Draw(*source.ring.locate(ordinals))


def test_a_sampler_of_ones_own(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (1,), backend=backend, sampler=Newest())
    for step in range(11):
        buffer.add([step], step, 0.0, False)
    assert backend.to_numpy(buffer.sample(3).states).tolist() == [[7], [8], [9]]


def test_buffers_do_not_share_priorities(backend: tri.Backend) -> None:
    """A sampler of two buffers would draw by the errors of the other one's rows."""
    sampler = tri.Prioritized()
    ours, theirs = (tri.Buffer(8, (1,), backend=backend, seed=0, sampler=sampler) for _ in range(2))
    for step in range(5):
        ours.add([step], 0, 0.0, False)
        theirs.add([step], 0, 0.0, False)
    ours.sample(3)
    with pytest.raises(ValueError, match="draws for another buffer already; give each buffer one"):
        theirs.sample(3)
    ours.sample(3)


def test_no_errors_change_no_priorities(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (1,), backend=backend, seed=0, sampler=tri.Prioritized())
    for step in range(5):
        buffer.add([step], 0, 0.0, False)
    buffer.sample(3)
    before = {name: array.copy() for name, array in buffer.sampler.state().items()}
    buffer.update_priorities([], [])
    after = buffer.sampler.state()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_batches_of_stacks_stay_as_they_were_drawn(backend: tri.Backend) -> None:
    """What comes out may share memory with itself, not with the rows."""
    buffer = tri.Buffer(16, (1,), 3, backend=backend, seed=0)
    for step in range(16):
        buffer.add([step], 0, 0.0, False)
    batch = buffer.sample(5)
    before = backend.to_numpy(batch.states)
    for _ in range(16):
        buffer.add([-1], 0, 0.0, False)
    assert np.array_equal(backend.to_numpy(batch.states), before)
    assert np.array_equal(backend.to_numpy(batch.next_states)[:, :-1], before[:, 1:])


def test_draws_with_replacement_need_one_row(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (1,), backend=backend, sampler=tri.Uniform(replacement=True))
    buffer.add([1], 0, 0.0, False)
    with pytest.raises(tri.NotEnoughTransitions) as caught:
        buffer.sample(5)
    assert (caught.value.requested, caught.value.available) == (5, 0)
    buffer.add([2], 0, 0.0, False)
    assert backend.to_numpy(buffer.sample(5).states).tolist() == [[1]] * 5


def test_seeds_tell_draws_apart(backend: tri.Backend) -> None:
    def drawn(seed: int | None) -> list[int]:
        buffer = tri.Buffer(1000, (1,), backend=backend, seed=seed)
        buffer.add_from_buffer(filled)
        return buffer.sample(50).indices.tolist()

    filled = tri.Buffer(1000, (1,), backend=backend)
    fill(filled, 900, seed=0)
    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in (1, 2, None, None)}) == 4


@pytest.mark.parametrize("obs_shape", [(), (3,), (2, 3), (2, 3, 4)])
def test_frames_of_any_shape_are_flattened_if_asked(
    backend: tri.Backend, obs_shape: tuple[int, ...]
) -> None:
    buffer = tri.Buffer(8, obs_shape, backend=backend, seed=0)
    for step in range(6):
        buffer.add(np.full(obs_shape, step), 0, 0.0, False)
    flat, whole = buffer.sample(4), buffer.sample(4, flatten=False)
    size = int(np.prod(obs_shape))
    assert flat.states.shape == flat.next_states.shape == (4, size)
    assert whole.states.shape == whole.next_states.shape == (4, 1, *obs_shape)
