"""How a state takes in steps and priorities: pure functions, but for storage that is given up."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from trifolium._checks import Field
from trifolium.backend import AnyArray, Backend, device_of
from trifolium.replay.graph import widetree
from trifolium.replay.graph.state import Priorities, State, numbers, of_age, valid_of_age
from trifolium.replay.rules.chunk import (
    Layout,
    chosen,
    chosen_marks,
    find_cuts,
    layout,
    limited,
    step_marks,
)
from trifolium.replay.rules.marks import TERMINATED, TRUNCATED, ends_episode
from trifolium.replay.rules.priorities import LARGEST_PRIORITY, mass, raw_priority
from trifolium.replay.rules.steps import Chunk, StepFields

__all__ = ["checked_steps", "converted", "with_errors", "with_steps"]


def checked_steps(
    state: State, stream: Any, extras: Mapping[str, Any], **given: Any
) -> tuple[AnyArray, Chunk]:
    """Return the numbers of the streams [S] that are written, and the steps given to ``add``."""
    streams = _streams(state, stream)
    fields = StepFields(state.spec)
    chunk = fields.chunk(
        lambda field, value: converted(state, field, value),
        streams.shape[0],
        state.backend.xp,
        extras=extras,
        **given,
    )
    return streams, chunk


def with_steps(
    state: State, streams: AnyArray, steps: Chunk, boundary_rows: int | None = None
) -> State:
    """Return the state with steps of ``streams`` [S].

    How many rows are written can't depend on values in a graph. So each stream has as many places as
    the steps may take, and the places that are not needed are written with what they hold already.

    Args:
        state: the state to add to.
        streams: the streams that are written.
        steps: their steps.
        boundary_rows: places for boundary rows of each stream; None for as many as there may be.
    """
    if not steps.terminated.shape[0]:
        return state
    backend, xp = state.backend, state.backend.xp
    n_steps, known = steps.terminated.shape[0], steps.following is not None
    newest = of_age(state, streams, xp.zeros_like(streams))
    waits = backend.take(state.has_successor, streams)
    pending = {name: backend.take(given, streams) for name, given in state.successors.items()}
    cuts, truncated = find_cuts(xp, steps, waits, pending), steps.truncated
    most = n_steps + 1 if known else 1  # boundary rows; one may come before the first step
    unknown = None if known else truncated
    if known and boundary_rows is not None and boundary_rows < most:
        most = boundary_rows
        cuts, unknown = limited(xp, cuts, most)
        truncated = truncated | unknown
    before = backend.take(state.marks, newest)
    cut = xp.where(cuts.start, before | TRUNCATED, before)
    written = replace(state, marks=backend.put(state.marks, newest, cut))
    # the marks are read again, from what was written: XLA copies an array that is read after a write
    opens = ends_episode(backend.take(written.marks, newest))
    opens = opens | (backend.take(state.sizes, streams) == 0)
    marks = step_marks(xp, state.marks.dtype, opens, steps.terminated, truncated, cuts, unknown)
    most = min(n_steps + most, state.spec.window.length)
    places = layout(xp, cuts, most, state.written.dtype, steps.taken)
    written = _put(written, streams, places, steps, marks)
    written = _with_successors(written, streams, steps)
    written = _moved_on(written, streams, places.count)
    if state.priorities is None:
        return written
    return _with_new_rows(written, streams, places.count, most)


def _put(state: State, streams: AnyArray, places: Layout, steps: Chunk, marks: AnyArray) -> State:
    """Return the state with the rows of ``places``."""
    backend, xp = state.backend, state.backend.xp
    each = xp.tile(streams, (places.offsets.shape[0],))
    rows = of_age(state, each, xp.reshape(-1 - places.offsets, (-1,)))
    where = xp.reshape(places.offsets >= 0, (-1,))
    following = steps.following or {}
    columns = {}
    for name, column in state.columns.items():
        pending = state.successors.get(name)
        pending = None if pending is None else backend.take(pending, streams)
        values = chosen(xp, places, steps.columns[name], following.get(name), pending)
        columns[name] = backend.put(column, rows, values, where)
    actions = chosen(xp, places, steps.actions, None, None)
    rewards = chosen(xp, places, steps.rewards, None, None)
    return replace(
        state,
        columns=columns,
        actions=backend.put(state.actions, rows, actions, where),
        rewards=backend.put(state.rewards, rows, rewards, where),
        marks=backend.put(state.marks, rows, chosen_marks(xp, places, marks), where),
    )


def _with_successors(state: State, streams: AnyArray, steps: Chunk) -> State:
    """Return the state with the given observations after the newest steps, which are not rows yet."""
    backend, xp = state.backend, state.backend.xp
    n_steps, n_streams = steps.terminated.shape
    successors = state.successors
    has = xp.zeros_like(streams, dtype=xp.bool)
    if steps.following is not None:
        has = ~(steps.terminated[-1, :] | steps.truncated[-1, :])
        last = slice((n_steps - 1) * n_streams, None)
        successors = {
            name: backend.put(column, streams, steps.following[name][last, ...], steps.taken)
            for name, column in successors.items()
        }
    has_successor = backend.put(state.has_successor, streams, has, steps.taken)
    return replace(state, successors=successors, has_successor=has_successor)


def with_errors(state: State, indices: AnyArray, errors: AnyArray) -> State:
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


def _moved_on(state: State, streams: AnyArray, count: AnyArray) -> State:
    """Return the state with the cursors of ``streams`` [S] moved on by ``count`` [S] rows."""
    backend, length = state.backend, state.spec.window.length
    written = (backend.take(state.written, streams) + count) % state.serials
    sizes = backend.take(state.sizes, streams) + count
    sizes = backend.xp.minimum(sizes, backend.xp.full_like(sizes, length))
    return replace(
        state,
        written=backend.put(state.written, streams, written),
        sizes=backend.put(state.sizes, streams, sizes),
    )


def _with_new_rows(state: State, streams: AnyArray, count: AnyArray, most: int) -> State:
    """Return the state with priorities for the rows that can be drawn since the last ``count`` [S].

    They are among the newest ``most`` + 1 rows of ``streams`` [S], and have the largest priority seen.
    The row before the new ones is one of them, unless it terminated its episode and could be drawn
    before. The oldest rows may have lost the first frames of their stacks.
    """
    assert state.priorities is not None
    assert state.priority_options is not None
    backend, xp, spec = state.backend, state.backend.xp, state.spec
    newest = numbers(state, 0, min(most + 1, spec.window.length))
    newest = xp.tile(newest[None, :], (streams.shape[0], 1))
    oldest = backend.take(state.sizes, streams)[:, None] - numbers(state, 1, spec.n_frames)[None, :]
    ages = xp.concat([newest, xp.maximum(oldest, xp.zeros_like(oldest))], axis=1)
    each = xp.repeat(streams, ages.shape[1])
    rows, is_valid = valid_of_age(state, each, xp.reshape(ages, (-1,)))
    waited = (backend.take(state.marks, rows) & TERMINATED) == 0
    is_new = xp.reshape(ages < count[:, None], (-1,)) | (
        xp.reshape(ages == count[:, None], (-1,)) & waited
    )
    tree, largest = state.priorities
    masses = xp.where(is_new, mass(largest, state.priority_options.alpha), backend.take(tree, rows))
    masses = xp.where(is_valid, masses, 0.0)
    tree = widetree.assign(backend, tree, spec.capacity, rows, masses)
    return replace(state, priorities=Priorities(tree, largest))


def _last_of_each(xp: Any, leaves: AnyArray, masses: AnyArray) -> AnyArray:
    """Return ``masses`` [N] with those of equal ``leaves`` [N] replaced by the last of them."""
    order = xp.argsort(leaves, stable=True)
    ascending = xp.take(leaves, order, axis=0)
    last = xp.searchsorted(ascending, leaves, side="right") - 1
    return xp.take(masses, xp.take(order, last, axis=0), axis=0)


def _streams(state: State, stream: Any) -> AnyArray:
    """Return the numbers of the streams that are written."""
    count = state.spec.n_streams
    if stream is None:
        return numbers(state, 0, count)
    if isinstance(stream, int) and not 0 <= stream < count:
        raise ValueError(
            f"stream={stream} does not exist; expected 0 to {count - 1}, as n_streams={count}"
        )
    xp, dtype = state.backend.xp, state.written.dtype
    return xp.reshape(xp.asarray(stream, dtype=dtype, device=device_of(state.written)), (1,))


def converted(state: State, field: Field, value: Any) -> AnyArray:
    """Return ``value`` as an array of the dtype of ``field``, on the device, detached from gradients.

    It may be what :meth:`trifolium.Buffer.add` accepts, and lists of traced arrays as well. Integers
    that don't fit in the dtype wrap around.
    """
    backend, xp = state.backend, state.backend.xp
    wanted = backend.dtype(field.dtype.name)
    if backend.is_array(value):
        # a backend that takes no gradients has no such method
        value = getattr(backend, "detach", lambda array: array)(value)
    elif isinstance(value, np.ndarray):
        # The caller may write to it before a device has read it. Torch takes no negative strides.
        value = np.array(value)
    elif _has_native(backend, value):
        return xp.stack([converted(state, field, item) for item in value])
    elif not isinstance(value, (bool, int, float, complex, list, tuple)):
        value = field.host_copy(value)  # another framework's array, or a NumPy scalar
    device = device_of(state.marks)
    try:
        array = xp.asarray(value, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        # another byte order, float16 or a list of arrays: NumPy takes them
        array = xp.asarray(field.host_copy(value), device=device)
    if not xp.isdtype(array.dtype, ("bool", "numeric")):
        field.numbers(value)  # raises an error that names the argument
    kinds = {"u": ("bool", "integral"), "f": ("bool", "integral", "real floating")}
    kinds |= {"i": kinds["u"], "b": ("bool",), "c": ("bool", "numeric")}
    if array.dtype != wanted and not xp.isdtype(array.dtype, kinds[field.dtype.kind]):
        raise field.dtype_error(array.dtype)
    if field.dtype.name == "float64" and isinstance(value, (float, list, tuple)):
        return xp.asarray(value, dtype=wanted, device=device)  # torch made it float32
    return xp.astype(array, wanted, copy=False)


def _has_native(backend: Backend, value: Any) -> bool:
    """Return whether ``value`` is a list, perhaps of lists, with an array of the backend in it."""
    if not isinstance(value, (list, tuple)):
        return False
    return any(backend.is_array(item) or _has_native(backend, item) for item in value)
