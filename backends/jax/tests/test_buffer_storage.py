"""Storage stays where it is: a write that is not donated would copy all of it."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri


@pytest.mark.parametrize("n_streams", [1, 4])
def test_writes_reuse_the_memory_of_the_storage(n_streams: int) -> None:
    buffer = tri.Buffer(
        4096, (8,), backend="jax", seed=0, n_streams=n_streams, extras={"tag": "float32"}
    )
    streams = (n_streams,) if n_streams > 1 else ()
    addresses = pointers(buffer)
    for step in range(1000):
        obs = np.full((*streams, 8), step, np.float32)
        zeros = np.zeros(streams, np.float32)
        buffer.add(obs, zeros.astype(np.int32), zeros, zeros, tag=zeros)
        if step % 37 == 36:  # writes of many sizes, between reads of all kinds
            kept = buffer.sample(8)
            buffer.sample_sequences(4, 2)
            buffer.current_state()
            assert pointers(buffer) == addresses
            assert float(kept.states.max()) <= step
    buffer.clear()
    assert pointers(buffer) == addresses


def test_exports_are_copies() -> None:
    """A view of the storage that stayed alive would turn each write after it into a copy."""
    buffer = tri.Buffer(1024, (8,), backend="jax", seed=0)
    addresses = pointers(buffer)
    kept: list[Any] = []
    for step in range(100):
        buffer.add(np.full(8, step, np.float32), 0, 0.0, False)
        kept += [buffer.states, buffer[0][0], np.asarray(buffer.states), buffer.current_state()]
        assert pointers(buffer) == addresses


def pointers(buffer: tri.Buffer) -> list[int]:
    return [array.unsafe_buffer_pointer() for array in buffer._rows.storage.arrays.values()]
