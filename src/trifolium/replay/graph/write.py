"""How a state takes in steps and priorities: pure functions, but for storage that is given up."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from trifolium._checks import Field
from trifolium.backend import Array, Params, device_of
from trifolium.replay.graph import widetree
from trifolium.replay.graph.state import Priorities, State, numbers, of_age, valid_of_age
from trifolium.replay.rules.marks import BOUNDARY, FIRST, TERMINATED, TRUNCATED, UNKNOWN, ends_episode
from trifolium.replay.rules.ordinals import running_sum
from trifolium.replay.rules.priorities import LARGEST_PRIORITY, mass, raw_priority
from trifolium.replay.rules.steps import Chunk, StepFields

__all__ = ["checked_steps", "with_errors", "with_steps"]


def checked_steps(
    state: State, stream: Any, extras: Mapping[str, Any], **given: Any
) -> tuple[Array, Chunk]:
    """Return the numbers of the streams [S] that are written, and the steps given to ``add``."""
    streams = _streams(state, stream)
    fields = StepFields(state.spec)
    chunk = fields.chunk(
        lambda field, value: _converted(state, field, value),
        streams.shape[0],
        state.backend.xp,
        extras=extras,
        **given,
    )
    return streams, chunk


def with_steps(state: State, streams: Array, steps: Chunk) -> State:
    """Return the state with steps of ``streams`` [S].

    A truncated step takes two rows where its last observation is known, any other one. How many rows
    are written can't depend on values in a graph. So each step has two places, and the places left over
    are written with what they hold already.
    """
    length = state.spec.window.length
    xp, n_steps = state.backend.xp, steps.terminated.shape[0]
    most = n_steps if steps.following is None else 2 * n_steps
    if most > length:
        raise ValueError(
            f"obs holds {n_steps} steps, which may take {most} rows; "
            f"expected at most the {length} rows of a stream"
        )
    step = numbers(state, 0, n_steps)[:, None] + xp.zeros_like(streams)[None, :]
    count = xp.zeros_like(streams) + n_steps
    marks = _marks(state, streams, steps)
    if steps.following is None:
        written = _put(state, streams, step, _step_rows(steps, marks))
    else:
        cut = xp.astype(steps.truncated, step.dtype)
        before = running_sum(xp, cut.T).T - cut
        count = count + before[-1, :] + cut[-1, :]
        left_over = count[None, :] + step - before
        places = xp.where(steps.truncated, step + before + 1, left_over)
        written = _put(state, streams, step + before, _step_rows(steps, marks))
        boundary = _boundary_rows(xp, steps, marks)
        written = _put(written, streams, places, boundary, steps.truncated)
    written = _moved_on(written, streams, count)
    return written if state.priorities is None else _with_new_rows(written, streams, count, most)


def with_errors(state: State, indices: Array, errors: Array) -> State:
    """Return the state with the ``errors`` [B] float32 of rows as their priorities."""
    assert state.priorities is not None
    assert state.priority_options is not None
    backend, xp, n_streams = state.backend, state.backend.xp, state.spec.n_streams
    streams, serials = indices % n_streams, indices // n_streams
    ages = (backend.take(state.written, streams) - 1 - serials) % state.serials
    stored = (indices >= 0) & (ages < backend.take(state.sizes, streams))
    raw = raw_priority(errors, state.priority_options.epsilon)
    counts = stored & (raw <= LARGEST_PRIORITY)  # NaN is not
    tree, largest = state.priorities
    raw = xp.where(counts, raw, 0.0)
    largest = xp.maximum(largest, xp.max(raw))
    rows = of_age(state, streams, ages)
    counts = counts & (backend.take(tree, rows) > 0)
    leaves = xp.where(counts, rows, state.capacity)  # the leaf to spare takes what doesn't count
    masses = xp.where(counts, mass(raw, state.priority_options.alpha), 0.0)
    masses = _last_of_each(xp, leaves, masses)
    tree = widetree.assign(backend, tree, state.capacity, leaves, masses)
    return replace(state, priorities=Priorities(tree, largest))


class _WholeRows(NamedTuple):
    """N rows in full: what :class:`State` has of them."""

    columns: Params
    actions: Array
    rewards: Array
    marks: Array


def _marks(state: State, streams: Array, steps: Chunk) -> Array:
    """Return what the rows of the steps are: [T * S] uint8."""
    xp = state.backend.xp
    newest = of_age(state, streams, xp.zeros_like(streams))
    is_empty = state.backend.take(state.sizes, streams) == 0
    opens = ends_episode(state.backend.take(state.marks, newest)) | is_empty
    ended = steps.terminated | steps.truncated
    first = xp.concat([opens[None, :], ended[:-1, :]], axis=0)
    cut = TRUNCATED | UNKNOWN if steps.following is None else TRUNCATED
    marks = (
        xp.astype(first, state.marks.dtype) * FIRST
        + xp.astype(steps.terminated, state.marks.dtype) * TERMINATED
        + xp.astype(steps.truncated, state.marks.dtype) * cut
    )
    return xp.reshape(marks, (-1,))


def _step_rows(steps: Chunk, marks: Array) -> _WholeRows:
    return _WholeRows(steps.columns, steps.actions, steps.rewards, marks)


def _boundary_rows(xp: Any, steps: Chunk, marks: Array) -> _WholeRows:
    """Return rows that hold the last observations, and zeros elsewhere."""
    columns = {name: xp.zeros_like(column) for name, column in steps.columns.items()}
    assert steps.following is not None
    return _WholeRows(
        columns={**columns, **steps.following},
        actions=xp.zeros_like(steps.actions),
        rewards=xp.zeros_like(steps.rewards),
        marks=xp.full_like(marks, BOUNDARY),
    )


def _put(
    state: State, streams: Array, places: Array, new: _WholeRows, where: Array | None = None
) -> State:
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
    masses = xp.where(is_new, mass(largest, state.priority_options.alpha), backend.take(tree, rows))
    masses = xp.where(is_valid, masses, 0.0)
    tree = widetree.assign(backend, tree, spec.capacity, rows, masses)
    return replace(state, priorities=Priorities(tree, largest))


def _last_of_each(xp: Any, leaves: Array, masses: Array) -> Array:
    """Return ``masses`` [N] with those of equal ``leaves`` [N] replaced by the last of them."""
    order = xp.argsort(leaves, stable=True)
    ascending = xp.take(leaves, order, axis=0)
    last = xp.searchsorted(ascending, leaves, side="right") - 1
    return xp.take(masses, xp.take(order, last, axis=0), axis=0)


def _streams(state: State, stream: Any) -> Array:
    """Return the numbers of the streams that are written."""
    count = state.spec.n_streams
    if stream is None:
        return numbers(state, 0, count)
    if isinstance(stream, int) and not 0 <= stream < count:
        raise ValueError(f"stream={stream} does not exist; expected 0 to {count - 1}")
    xp, dtype = state.backend.xp, state.written.dtype
    return xp.reshape(xp.asarray(stream, dtype=dtype, device=device_of(state.written)), (1,))


def _converted(state: State, field: Field, value: Any) -> Array:
    """Return ``value`` as an array of the dtype of ``field``, on the device."""
    xp = state.backend.xp
    wanted = state.backend.dtype(field.dtype.name)
    array = xp.asarray(value, device=device_of(state.marks))
    kinds = {"u": ("bool", "integral"), "f": ("bool", "integral", "real floating")}
    kinds |= {"i": kinds["u"], "b": ("bool",), "c": ("bool", "numeric")}
    if array.dtype != wanted and not xp.isdtype(array.dtype, kinds[field.dtype.kind]):
        raise TypeError(
            f"{field.name} has dtype {array.dtype}, which can't be stored as {field.dtype} "
            f"without changing values; expected {field.dtype}, or convert it first"
        )
    return xp.astype(array, wanted, copy=False)
