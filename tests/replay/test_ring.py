"""The ring on its own, for what no buffer does with it."""

import numpy as np
import pytest

from trifolium.replay.ring import Ring


def test_a_ring_is_by_default_one_stream_of_single_frames() -> None:
    ring = Ring(4)
    assert (ring.n_streams, ring.length) == (1, 4)
    assert (ring.oldest_drawable, ring.oldest_breakable) == (0, 0)


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
