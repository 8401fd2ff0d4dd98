"""The ring on its own, for what no buffer does with it."""

import numpy as np
import pytest

from trifolium.replay.host.ring import Ring


def test_a_ring_is_by_default_one_stream_of_single_frames() -> None:
    ring = Ring(4)
    assert (ring.n_streams, ring.length) == (1, 4)
    assert (ring.skipped, ring.breakable) == (0, 0)
    assert Ring(8, n_frames=3).skipped == 2  # as in "mask"


@pytest.mark.parametrize("n_streams", [1, 2])
def test_rows_are_drawn_one_by_one_by_default(n_streams: int) -> None:
    ring = filled(n_streams)
    count = ring.count_drawable()
    assert count == ring.count_drawable(1) == ring.drawable().sum() == 3 * n_streams
    streams, serials = ring.locate(np.arange(count))
    assert streams.tolist() == [stream for stream in range(n_streams) for _ in range(3)]
    assert serials.tolist() == [2, 3, 4] * n_streams


@pytest.mark.parametrize("n_streams", [1, 2])
def test_indices_of_rows_that_are_not_stored(n_streams: int) -> None:
    ring = filled(n_streams)
    for stream in range(n_streams):
        indices = ring.indices(np.full(8, stream), np.arange(8))
        rows, stored = ring.current_rows(indices)
        assert stored.tolist() == [False, False, True, True, True, True, False, False]
        assert rows[stored].tolist() == [4 * stream + place for place in (2, 3, 0, 1)]


def filled(n_streams: int) -> Ring:
    """Return rings of 4 rows, to each of which 6 were written."""
    ring = Ring(4 * n_streams, n_streams)
    for stream in range(n_streams):
        for _ in range(6):
            ring.append(stream, 0)
    return ring


@pytest.mark.parametrize("written", [np.array([3]), np.array([3, 3], np.int32), np.array([[3, 3]])])
def test_cursors_that_are_not_the_ring_s_are_refused(written: np.ndarray) -> None:
    ring = Ring(8, 2)
    with pytest.raises(ValueError, match="written has shape"):
        ring.restore(written, np.array([1, 1]))
    with pytest.raises(ValueError, match="sizes has shape"):
        ring.restore(np.array([3, 3]), written)


@pytest.mark.parametrize("sizes", [[-1, 0], [0, 4], [5, 5]])
def test_sizes_that_can_not_be_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="sizes="):
        Ring(8, 2).restore(np.array([9, 3]), np.array(sizes))
