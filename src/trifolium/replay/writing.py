"""How a compiled memory takes in steps and priorities: pure functions but for storage given up."""

from dataclasses import replace
from typing import Any, NamedTuple

from trifolium.backend import Array, Params
from trifolium.replay import widetree
from trifolium.replay.draws import running_sum
from trifolium.replay.entry import Entry
from trifolium.replay.places import numbers, of_age, valid_of_age
from trifolium.replay.ring import BOUNDARY, ENDED, FIRST, TERMINATED, TRUNCATED, UNKNOWN
from trifolium.replay.samplers import LARGEST_PRIORITY
from trifolium.replay.state import Priorities, State

__all__ = ["with_entry", "with_errors"]


def with_entry(state: State, steps: Entry) -> State:
    """Return the state with these steps.

    A truncated step takes two rows where its last observation is known, any other one. How many rows
    are written may not depend on values in a graph, so each step is given two places, and the places
    left over are written with what they hold already.
    """
    length = state.spec.window.length
    xp, n_steps = state.backend.xp, steps.terminated.shape[0]
    most = n_steps if steps.last is None else 2 * n_steps
    if most > length:
        raise ValueError(
            f"obs holds {n_steps} steps, which may take {most} rows; "
            f"expected at most the {length} rows of a stream"
        )
    step = numbers(state, 0, n_steps)[:, None] + xp.zeros_like(steps.streams)[None, :]
    count = xp.zeros_like(steps.streams) + n_steps
    marks = _marks(state, steps)
    if steps.last is None:
        written = _put(state, steps.streams, step, _step_rows(steps, marks))
    else:
        cut = xp.astype(steps.truncated, step.dtype)
        before = running_sum(xp, cut.T).T - cut
        count = count + before[-1, :] + cut[-1, :]
        left_over = count[None, :] + step - before
        places = xp.where(steps.truncated, step + before + 1, left_over)
        written = _put(state, steps.streams, step + before, _step_rows(steps, marks))
        boundary = _boundary_rows(xp, steps, marks)
        written = _put(written, steps.streams, places, boundary, steps.truncated)
    written = _moved_on(written, steps.streams, count)
    return written if state.priorities is None else _with_new_rows(written, steps.streams, count, most)


def with_errors(state: State, indices: Array, errors: Array) -> State:
    """Return the state with the ``errors`` [B] float32 of rows as their priorities."""
    assert state.priorities is not None
    assert state.priority_options is not None
    backend, xp, n_streams = state.backend, state.backend.xp, state.spec.n_streams
    streams, serials = indices % n_streams, indices // n_streams
    ages = (backend.take(state.written, streams) - 1 - serials) % state.serials
    stored = (indices >= 0) & (ages < backend.take(state.sizes, streams))
    raw = xp.abs(errors) + state.priority_options.epsilon
    counts = stored & (raw <= LARGEST_PRIORITY)  # NaN is not
    tree, largest = state.priorities
    raw = xp.where(counts, raw, 0.0)
    largest = xp.maximum(largest, xp.max(raw))
    rows = of_age(state, streams, ages)
    counts = counts & (backend.take(tree, rows) > 0)
    leaves = xp.where(counts, rows, state.capacity)  # the leaf to spare takes what doesn't count
    masses = xp.where(counts, raw**state.priority_options.alpha, 0.0)
    masses = _last_of_each(xp, leaves, masses)
    tree = widetree.assign(backend, tree, state.capacity, leaves, masses)
    return replace(state, priorities=Priorities(tree, largest))


class _Rows(NamedTuple):
    """N rows in full: what :class:`State` has of them."""

    columns: Params
    actions: Array
    rewards: Array
    marks: Array


def _marks(state: State, steps: Entry) -> Array:
    """Return what the rows of the steps are: [T * S] uint8."""
    xp = state.backend.xp
    newest = of_age(state, steps.streams, xp.zeros_like(steps.streams))
    is_empty = state.backend.take(state.sizes, steps.streams) == 0
    opens = ((state.backend.take(state.marks, newest) & ENDED) != 0) | is_empty
    ended = steps.terminated | steps.truncated
    first = xp.concat([opens[None, :], ended[:-1, :]], axis=0)
    cut = TRUNCATED | UNKNOWN if steps.last is None else TRUNCATED
    marks = (
        xp.astype(first, state.marks.dtype) * FIRST
        + xp.astype(steps.terminated, state.marks.dtype) * TERMINATED
        + xp.astype(steps.truncated, state.marks.dtype) * cut
    )
    return xp.reshape(marks, (-1,))


def _step_rows(steps: Entry, marks: Array) -> _Rows:
    return _Rows(steps.columns, steps.actions, steps.rewards, marks)


def _boundary_rows(xp: Any, steps: Entry, marks: Array) -> _Rows:
    """Return rows that hold the last observations, and zeros elsewhere."""
    columns = {name: xp.zeros_like(column) for name, column in steps.columns.items()}
    return _Rows(
        columns={**columns, "obs": steps.last},
        actions=xp.zeros_like(steps.actions),
        rewards=xp.zeros_like(steps.rewards),
        marks=xp.full_like(marks, BOUNDARY),
    )


def _put(state: State, streams: Array, places: Array, new: _Rows, where: Array | None = None) -> State:
    """Return the state with rows [T * S] in the ``places`` [T, S] that come next of ``streams`` [S].

    Where ``where`` [T, S] is False a row stays as it is.
    """
    backend, xp = state.backend, state.backend.xp
    each = xp.reshape(streams[None, :] + xp.zeros_like(places), (-1,))
    rows = of_age(state, each, xp.reshape(-1 - places, (-1,)))
    chosen = None if where is None else xp.reshape(where, (-1,))

    def put(column: Array, values: Array) -> Array:
        return backend.put(column, rows, values, chosen)

    return replace(
        state,
        columns={name: put(column, new.columns[name]) for name, column in state.columns.items()},
        actions=put(state.actions, new.actions),
        rewards=put(state.rewards, new.rewards),
        marks=put(state.marks, new.marks),
    )


def _moved_on(state: State, streams: Array, count: Array) -> State:
    """Return the state with the cursors of ``streams`` [S] moved on by ``count`` [S] rows."""
    backend, length = state.backend, state.spec.window.length
    written = (backend.take(state.written, streams) + count) % state.serials
    sizes = backend.take(state.sizes, streams) + count
    sizes = backend.xp.where(sizes < length, sizes, length)
    return replace(
        state,
        written=backend.put(state.written, streams, written),
        sizes=backend.put(state.sizes, streams, sizes),
    )


def _with_new_rows(state: State, streams: Array, count: Array, most: int) -> State:
    """Return the state with priorities for the rows that can be drawn since the last ``count`` [S].

    Of ``streams`` [S] the newest row can't be drawn yet; those before it, at most ``most``, have the
    largest priority seen. The oldest ones may have lost the first frames of their stacks.
    """
    assert state.priorities is not None
    assert state.priority_options is not None
    backend, xp, spec = state.backend, state.backend.xp, state.spec
    newest = numbers(state, 0, min(most + 1, spec.window.length))[None, :]
    newest = newest + xp.zeros_like(streams)[:, None]
    oldest = backend.take(state.sizes, streams)[:, None] - numbers(state, 1, spec.n_frames)[None, :]
    ages = xp.concat([newest, xp.where(oldest > 0, oldest, 0)], axis=1)
    is_new = xp.reshape(ages <= count[:, None], (-1,))
    each = xp.reshape(streams[:, None] + xp.zeros_like(ages), (-1,))
    rows, is_valid = valid_of_age(state, each, xp.reshape(ages, (-1,)))
    tree, largest = state.priorities
    masses = xp.where(is_new, largest**state.priority_options.alpha, backend.take(tree, rows))
    masses = xp.where(is_valid, masses, 0.0)
    tree = widetree.assign(backend, tree, spec.capacity, rows, masses)
    return replace(state, priorities=Priorities(tree, largest))


def _last_of_each(xp: Any, leaves: Array, masses: Array) -> Array:
    """Return ``masses`` [N] with those of equal ``leaves`` [N] replaced by the last of them."""
    order = xp.argsort(leaves, stable=True)
    ascending = xp.take(leaves, order, axis=0)
    last = xp.searchsorted(ascending, leaves, side="right") - 1
    return xp.take(masses, xp.take(order, last, axis=0), axis=0)
