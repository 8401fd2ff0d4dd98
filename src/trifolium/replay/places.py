"""Where the rows of a state lie, by stream and age: pure functions, made to be traced.

The age of a row is the number of rows written to its stream since: the newest has age 0.
"""

from typing import Any

from trifolium.backend import Array, device_of
from trifolium.replay.state import State
from trifolium.replay.windows import stack, valid

__all__ = ["drawable_counts", "numbers", "of_age", "oldest_drawable", "valid_of_age"]


def numbers(state: State, start: int, stop: int) -> Array:
    """Return [stop - start] integers from ``start``, of the dtype of the cursors."""
    xp = state.backend.xp
    return xp.arange(start, stop, dtype=state.written.dtype, device=device_of(state.written))


def of_age(state: State, streams: Array, ages: Array) -> Array:
    """Return the rows [N] that are ``ages`` [N] rows older than the newest of ``streams`` [N].

    An age below 0 is that of a row that is yet to be written.
    """
    length = state.spec.window.length
    written = state.backend.take(state.written, streams)
    return streams * length + (written - 1 - ages) % length


def oldest_drawable(state: State) -> int:
    """Return how many of a stream's oldest rows can't be drawn: their stacks begin before them."""
    return 0 if state.spec.window.pad else state.spec.n_frames - 1


def drawable_counts(state: State) -> Array:
    """Return how many rows can be drawn of each stream: [n_streams]."""
    counts = state.sizes - 1 - oldest_drawable(state)
    return state.backend.xp.where(counts > 0, counts, 0)


def valid_of_age(state: State, streams: Array, ages: Array) -> tuple[Array, Array]:
    """Return (rows, valid), each [N]: valid are those that can be drawn and would be learned from."""
    xp: Any = state.backend.xp
    rows = of_age(state, streams, ages)
    older = state.backend.take(state.sizes, streams) - 1 - ages
    whole = stack(xp, state.marks, rows, older, state.spec.window).whole
    can_be_drawn = (ages >= 1) & (older >= oldest_drawable(state))
    return rows, valid(xp, state.marks, rows, whole) & can_be_drawn
