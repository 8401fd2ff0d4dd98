"""Draws of runs of consecutive rows from a state: pure functions that a compiler can trace."""

from typing import Any

from trifolium.backend import AnyArray
from trifolium.replay.batch import Batch
from trifolium.replay.graph import widetree
from trifolium.replay.graph.draw import (
    DrawnRows,
    batch_of,
    drawn_by_priority,
    drawn_uniformly,
    identified,
)
from trifolium.replay.graph.state import State, newest_marks, numbers, older_than, skipped
from trifolium.replay.rules.marks import TERMINATED
from trifolium.replay.rules.ordinals import Ordinals
from trifolium.replay.rules.runs import unbroken_from

__all__ = ["batch_of_runs", "runs_by_priority", "runs_uniformly"]


def runs_uniformly(
    state: State, bits: AnyArray, draw: Ordinals, length: int, *, within_episode: bool
) -> DrawnRows:
    """Draw the first rows of runs, all alike.

    Runs within an episode are found by looking at every row: in time in proportion to the memory.
    """
    if not within_episode:
        return drawn_uniformly(state, bits, draw, length)
    backend, dtype = state.backend, state.sizes.dtype
    xp = backend.xp
    tree = widetree.grown(xp, xp.astype(_begin_runs(state, length, within_episode=True), dtype))
    ordinals, drawn = draw(xp, bits, widetree.total(xp, tree))
    streams, ages = identified(state, widetree.locate(backend, tree, state.capacity, ordinals))
    return DrawnRows(streams, ages, xp.ones_like(ordinals, dtype=state.rewards.dtype), drawn)


def runs_by_priority(
    state: State, bits: AnyArray, beta: Any, length: int, *, within_episode: bool
) -> DrawnRows:
    """Draw the first rows of runs in proportion to their mass, in time in proportion to the memory."""
    assert state.priorities is not None
    xp = state.backend.xp
    masses = state.priorities.tree[: state.capacity]
    begins = _begin_runs(state, length, within_episode=within_episode)
    tree = widetree.grown(xp, xp.where(begins, masses, xp.zeros_like(masses)))
    return drawn_by_priority(state, tree, bits, beta)


def batch_of_runs(state: State, found: DrawnRows, length: int, flatten: bool) -> Batch:
    """Return the batch of the runs that begin at the rows drawn: [B, length, ...]."""
    xp, count = state.backend.xp, found.ages.shape[0]
    ages = found.ages[:, None] - numbers(state, 0, length)[None, :]
    rows = DrawnRows(
        xp.repeat(found.streams, length),
        xp.reshape(ages, (-1,)),
        xp.repeat(found.weights, length),
        xp.repeat(found.drawn, length),
    )
    flat = batch_of(state, rows, flatten)
    batch = flat.each(lambda array: xp.reshape(array, (count, length, *array.shape[1:])))
    batch.indices = xp.reshape(flat.indices, (count, length))[:, 0]
    return batch


def _begin_runs(state: State, length: int, *, within_episode: bool) -> AnyArray:
    """Return [capacity] bool: from which rows runs of ``length`` can be drawn."""
    xp, ring = state.backend.xp, state.spec.window.length
    ages = (state.written[:, None] - 1 - numbers(state, 0, ring)[None, :]) % ring
    ages = xp.reshape(ages, (-1,))
    every = xp.repeat(numbers(state, 0, state.spec.n_streams), ring)
    ended = (newest_marks(state) & TERMINATED) != 0  # then the newest row can be drawn
    ended = state.backend.take(xp.astype(ended, ages.dtype), every)
    found = (older_than(state, every, ages) >= skipped(state)) & (ages >= length - ended)
    if not within_episode:
        return found
    marks = xp.reshape(state.marks, (-1, ring))
    return found & xp.reshape(unbroken_from(xp, marks, length), (-1,))
