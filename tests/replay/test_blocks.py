"""Memory of large results is used again, and only when nothing refers to it any more."""

import copy
import pickle
import threading
from collections import deque
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host.blocks import ALIGNMENT, LARGEST, SMALLEST, Blocks

SHAPE, BATCH = (64, 8), 256  # a batch of 128 KB of uint8


def filled(backend: tri.Backend, n_frames: int = 1, **options: Any) -> tri.Buffer:
    """Return a buffer in which every element of an observation is the number of its row."""
    buffer = tri.Buffer(
        250,
        SHAPE,
        n_frames,
        obs_dtype="uint8",
        backend=backend,
        seed=0,
        extras={"tag": "int32"},
        **options,
    )
    obs = np.broadcast_to(np.arange(250, dtype=np.uint8)[:, None, None], (250, *SHAPE))
    steps = np.arange(250)
    buffer.extend(obs, steps % 5, steps.astype(np.float32), steps % 50 == 49, tag=steps)
    return buffer


@pytest.mark.parametrize("n_frames", [1, 3])
def test_what_is_held_never_changes(backend: tri.Backend, n_frames: int) -> None:
    """Also where all that is left of a batch is a part of one array."""
    buffer, rng = filled(backend, n_frames), np.random.default_rng(0)
    held: deque[tuple[Any, np.ndarray]] = deque()
    for _ in range(60):
        batch = buffer.sample(200, flatten=bool(rng.integers(2)))
        for array in (batch.states, batch.next_states):
            part = array[50:, ...] if rng.integers(2) else array
            held.append((part, backend.to_numpy(part)))
        del batch, array, part
        while len(held) > rng.integers(1, 12):
            del held[int(rng.integers(len(held)))]
        for part, was in held:
            assert np.array_equal(backend.to_numpy(part), was)


def test_every_batch_has_the_rows_it_was_drawn_from(backend: tri.Backend) -> None:
    """What a block held before is overwritten wholly."""
    buffer = filled(backend, 2, boundary="pad")
    for size in (240, 100, 240, 150):
        batch = buffer.sample(size, flatten=False)
        rows = batch.indices.astype(np.uint8)
        states = backend.to_numpy(batch.states)
        assert np.array_equal(states[:, 1], np.broadcast_to(rows[:, None, None], (size, *SHAPE)))
        older = np.where(batch.indices % 50 == 0, 0, rows - 1)
        assert np.array_equal(states[:, 0, 0, 0], older)


def test_threads_never_share_a_block(backend: tri.Backend) -> None:
    buffers = [filled(backend), filled(backend, 3)]
    failures: list[Any] = []

    def draw(number: int) -> None:
        held: deque[Any] = deque(maxlen=1 + number % 3)
        for _ in range(40):
            batch = buffers[number % 2].sample(200)
            held.append((batch.states, backend.to_numpy(batch.states)))
            failures.extend(1 for now, was in held if not np.array_equal(backend.to_numpy(now), was))

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_block_that_is_lent_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    block = np.zeros(LARGEST, np.uint8)

    def lent_twice(_: Blocks, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        return np.ndarray(shape, dtype, block)

    monkeypatch.setattr(Blocks, "empty", lent_twice)
    with pytest.raises(AssertionError):
        test_what_is_held_never_changes(tri.get_backend("numpy"), 3)


def test_copies_have_memory_of_their_own(backend: tri.Backend) -> None:
    buffer = filled(backend)
    batch = buffer.sample(BATCH - 10)
    was = backend.to_numpy(batch.states)
    for other in (copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))):
        for _ in range(5):
            other.sample(BATCH - 10)
        assert np.array_equal(backend.to_numpy(batch.states), was)


def test_a_block_comes_back_with_the_last_view() -> None:
    blocks, dtype = Blocks(), np.dtype("float32")
    first = blocks.empty((400, 100), dtype)
    address, view = first.ctypes.data, first[3:].reshape(-1)[5:]
    del first
    assert blocks.empty((400, 100), dtype).ctypes.data != address
    del view
    assert blocks.empty((300, 20, 6), dtype).ctypes.data == address  # of the same size, nearly


def test_few_free_blocks_are_kept() -> None:
    blocks, dtype = Blocks(), np.dtype("uint8")
    addresses = {each.ctypes.data for each in [blocks.empty((SMALLEST,), dtype) for _ in range(9)]}
    kept = [blocks.empty((SMALLEST,), dtype) for _ in range(9)]
    assert len(addresses) == 9
    assert len({each.ctypes.data for each in kept}) == 9
    assert sum(map(len, blocks._free.values())) == 0
    del kept
    assert sum(map(len, blocks._free.values())) == 2


@pytest.mark.parametrize("size", [1, 100, SMALLEST - 1, SMALLEST, SMALLEST + 1, LARGEST + 1])
def test_memory_is_aligned_and_of_the_size_asked_for(size: int) -> None:
    blocks = Blocks()
    for _ in range(3):
        found = blocks.empty((size,), np.dtype("uint8"))
        assert found.nbytes == size
        assert found.ctypes.data % ALIGNMENT == 0
        assert found.flags.writeable
        assert type(found) is np.ndarray
