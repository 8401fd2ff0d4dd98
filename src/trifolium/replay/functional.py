"""The replay memory for compiled code: state in, state out, with no access to the host.

:func:`init` makes a state, :func:`add` and :func:`extend` write steps, :func:`sample` and
:func:`sample_sequences` draw minibatches. The rules are those of
:class:`trifolium.Buffer`; ``Buffer.state`` and ``Buffer.from_state`` convert.

>>> import numpy as np
>>> from trifolium import replay
>>> state = replay.init(100, (2,))
>>> for step in range(10):
...     state = replay.add(state, [float(step), 0.0], step % 2, 1.0, False)
>>> bits = np.random.default_rng(0).integers(2**30, size=(4, 2))
>>> states, actions, rewards, next_states, dones, valid = replay.sample(state, bits)
>>> bool((next_states[:, 0] == states[:, 0] + 1).all())
True
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trifolium import _checks as checks
from trifolium._checks import Field
from trifolium.backend import AnyArray, Backend, device_of, get_backend
from trifolium.replay.batch import Batch
from trifolium.replay.graph import widetree
from trifolium.replay.graph.draw import batch_of, checked_bits, drawn_by_priority, drawn_uniformly
from trifolium.replay.graph.runs import batch_of_runs, runs_by_priority, runs_uniformly
from trifolium.replay.graph.state import (
    Priorities,
    State,
    check_capacity,
    counts,
    native,
    numbers,
    of_age,
)
from trifolium.replay.graph.write import checked_steps, converted, with_errors, with_steps
from trifolium.replay.host.prioritized import Prioritized
from trifolium.replay.rules.ordinals import DRAWS, Ordinals
from trifolium.replay.rules.ring import continues
from trifolium.replay.schema import BufferSpec, nested

__all__ = [
    "add",
    "current_state",
    "drawable",
    "extend",
    "init",
    "sample",
    "sample_sequences",
    "update_priorities",
]


def init(  # noqa: D417 (most arguments are those of Buffer)
    capacity: int,
    obs_shape: int | Sequence[int],
    n_frames: int = 1,
    *,
    backend: str | Backend = "numpy",
    device: Any = None,
    obs_dtype: Any = "float32",
    action_shape: int | Sequence[int] = (),
    action_dtype: Any = None,
    extras: Mapping[str, Any] | None = None,
    n_streams: int = 1,
    n_step: int = 1,
    gamma: float = 0.99,
    boundary: str = "mask",
    sampler: Prioritized | None = None,
) -> State:
    """Return the state of an empty memory.

    Args:
        capacity: rows held, at most 2**29.
        sampler: ``Prioritized(...)`` to draw by priority; None to draw uniformly, in a way that each
            call of :func:`sample` chooses.

    All else is as for :class:`trifolium.Buffer`.

    Raises:
        ValueError, TypeError: an argument is wrong; the message names it.
        BackendError: the backend is unknown or missing, or lacks the device or a dtype.
    """
    chosen = get_backend(backend, device=device)
    spec = BufferSpec.checked(
        chosen,
        capacity=capacity,
        obs_shape=obs_shape,
        n_frames=n_frames,
        obs_dtype=obs_dtype,
        action_shape=action_shape,
        action_dtype=action_dtype,
        extras=extras,
        n_streams=n_streams,
        n_step=n_step,
        gamma=gamma,
        boundary=boundary,
    )
    check_capacity(spec)
    if not isinstance(sampler, Prioritized | None):
        raise TypeError(f"sampler={sampler!r} can't be compiled; expected Prioritized(...) or None")
    rows = spec.capacity
    return State(
        columns={
            each.name: chosen.zeros((rows, *each.shape), each.dtype.name) for each in spec.columns
        },
        actions=chosen.zeros((rows, *spec.action_shape), spec.action_dtype),
        rewards=chosen.zeros((rows,), "float32"),
        marks=chosen.zeros((rows,), "uint8"),
        written=chosen.zeros((spec.n_streams,), chosen.default_int),
        sizes=chosen.zeros((spec.n_streams,), chosen.default_int),
        successors={
            leaf.column: chosen.zeros((spec.n_streams, *leaf.shape), leaf.dtype) for leaf in spec.leaves
        },
        has_successor=chosen.zeros((spec.n_streams,), "bool"),
        priorities=None if sampler is None else _no_priorities(chosen, rows),
        spec=spec,
        priority_options=None if sampler is None else sampler.priority_options,
        backend=chosen,
    )


def add(
    state: State,
    obs: Any,
    action: Any,
    reward: Any,
    done: Any,
    *,
    truncated: Any = False,
    next_obs: Any = None,
    stream: Any = None,
    where: Any = None,
    **extras: Any,
) -> State:
    """Store steps and return the new state; the old state must not be used again.

    Arguments mean what they mean for :meth:`trifolium.Buffer.add`: with several streams, and no
    ``stream`` given, each has a leading axis [n_streams]. Before that there may be an axis [T] of
    steps, oldest first, as a rollout leaves them (see also :func:`extend`); ``where`` [n_streams] is
    for single steps.

    Only shapes and dtypes are checked, since a graph can't check values. Integers that don't fit in
    the dtype stored wrap around.

    Raises:
        ValueError, TypeError: an argument has the wrong shape, dtype or name.

    >>> import numpy as np
    >>> state = init(100, (2,), n_streams=2)
    >>> zeros = np.zeros((5, 2), int)
    >>> state = add(state, np.zeros((5, 2, 2)), action=zeros, reward=zeros, done=zeros)
    >>> state.sizes.tolist()
    [5, 5]
    """
    return _extended(
        state,
        stream,
        extras,
        None,
        obs=obs,
        action=action,
        reward=reward,
        done=done,
        truncated=truncated,
        next_obs=next_obs,
        where=where,
    )


def extend(  # noqa: D417 (most arguments are those of add)
    state: State,
    obs: Any,
    action: Any,
    reward: Any,
    done: Any,
    *,
    truncated: Any = False,
    next_obs: Any = None,
    stream: Any = None,
    boundary_rows: int | None = None,
    **extras: Any,
) -> State:
    """Store T steps, or T steps of every stream, and return the new state.

    It is :func:`add` with an axis [T], but that few rows can be set aside for observations after
    truncated steps. How many there are depends on values, which a graph can't look at: without
    ``boundary_rows``, where ``next_obs`` is given, one is set aside for each step, and a chunk costs
    twice what its steps do. The state given must not be used again.

    Args:
        boundary_rows: how many observations after truncated steps a stream has in a chunk at most, at
            least 1; None for any number. A given successor that differs from what follows counts too,
            also that of the last step before the chunk. Further truncated steps are stored as if their
            next observation were not known: they are invalid in ``sample``.

    Raises:
        ValueError, TypeError: an argument has the wrong shape, dtype or name.

    >>> import numpy as np
    >>> state, zeros = init(100, (1,)), np.zeros(4, int)
    >>> obs, cut = np.arange(4.0)[:, None], np.arange(4) == 1
    >>> state = extend(
    ...     state, obs, zeros, zeros, zeros, truncated=cut, next_obs=obs + 1, boundary_rows=2
    ... )
    >>> state.sizes.tolist()
    [5]
    """
    if boundary_rows is not None:
        boundary_rows = checks.integer("boundary_rows", boundary_rows, 1)
    return _extended(
        state,
        stream,
        extras,
        boundary_rows,
        obs=obs,
        action=action,
        reward=reward,
        done=done,
        truncated=truncated,
        next_obs=next_obs,
        where=None,
    )


def sample(
    state: State,
    bits: AnyArray,
    *,
    draw: str = "stratified",
    beta: Any = None,
    flatten: bool = True,
) -> Batch:
    """Draw a minibatch.

    A graph can't raise an error if fewer rows can be drawn than requested: the missing rows are then
    invalid, with ``indices`` of -1. :func:`drawable` returns how many rows can be drawn.

    Args:
        state: the state to draw from.
        bits: [B, 2] integers of which the lowest 30 bits are random; B is the batch size. Such as
            ``jax.random.bits(key, (64, 2))``, ``torch.randint(2**30, (64, 2))`` or
            ``generator.integers(2**30, size=(64, 2))``.
        draw: how, where rows are drawn uniformly. "stratified": one row from each of B parts of the
            memory, so all are different, and each row is equally likely to be in the batch. "subset":
            every set of B rows is equally likely, for the price of a sort. "independent": with
            replacement.
        beta: of the importance weights, where rows are drawn by priority; None for the sampler's own.
            It may be an array, so that it can be annealed.
        flatten: as for :meth:`trifolium.Buffer.sample`.

    Raises:
        ValueError, TypeError: ``bits`` is not such an array, or ``draw`` is unknown.
    """
    state, bits, ordinals, beta = _checked_draw(state, bits, draw, beta)
    if state.priorities is None:
        return batch_of(state, drawn_uniformly(state, bits, ordinals), flatten)
    return batch_of(state, drawn_by_priority(state, state.priorities.tree, bits, beta), flatten)


def sample_sequences(
    state: State,
    bits: AnyArray,
    length: int,
    *,
    within_episode: bool = False,
    draw: str = "stratified",
    beta: Any = None,
    flatten: bool = True,
) -> Batch:
    """Draw runs of ``length`` consecutive rows of a stream.

    They are those of :meth:`trifolium.Buffer.sample_sequences`. Where rows are drawn by priority, runs
    are drawn by the priority of their first row, one from each of B segments of the total.

    Time does not grow with the memory where rows are drawn uniformly and ``within_episode`` is False;
    else every row of the memory is looked at, in a few operations on whole arrays.

    Args:
        state: the state to draw from.
        bits: [B, 2], as for :func:`sample`.
        length: rows in each run, at least 1. A compiled function has one length.
        within_episode: whether only runs are drawn that lie in one episode, without blank rows or
            observations after a truncated step inside.
        draw: as for :func:`sample`, of runs.
        beta: as for :func:`sample`.
        flatten: as for :meth:`trifolium.Buffer.sample`.

    Returns:
        A batch with a time axis: [B, length, ...]; ``indices`` [B] are of the first rows. Missing runs
        are invalid, with an index of -1.

    Raises:
        ValueError, TypeError: ``bits`` is not such an array, or an option is wrong.

    >>> import numpy as np
    >>> state = init(100, (2,))
    >>> for step in range(10):
    ...     state = add(state, [float(step), 0.0], 0, 1.0, step == 4)
    >>> bits = np.random.default_rng(0).integers(2**30, size=(6, 2))
    >>> batch = sample_sequences(state, bits, 3, within_episode=True)
    >>> batch.states.shape, sorted(batch.indices.tolist())
    ((6, 3, 2), [-1, 0, 1, 2, 5, 6])
    """
    state, bits, ordinals, beta = _checked_draw(state, bits, draw, beta)
    length = checks.integer("length", length, 1)
    within_episode = checks.flag("within_episode", within_episode)
    if state.priorities is None:
        found = runs_uniformly(state, bits, ordinals, length, within_episode=within_episode)
    else:
        found = runs_by_priority(state, bits, beta, length, within_episode=within_episode)
    return batch_of_runs(state, found, length, flatten)


def update_priorities(state: State, indices: AnyArray, td: AnyArray) -> State:
    """Return the state with the temporal-difference errors of rows as their priorities.

    Rows that were overwritten since they were drawn are ignored, and so are errors that are not
    finite. Of the errors for one row the last counts. The state given must not be used again.

    Args:
        state: of a memory that draws by priority.
        indices: [B], ``Batch.indices``.
        td: [B] or [B, 1], errors; their absolute values are the priorities.

    Raises:
        ValueError, TypeError: lengths differ, or rows are drawn uniformly.
    """
    if state.priorities is None:
        raise TypeError("update_priorities: this memory draws uniformly; give init Prioritized()")
    state = native(state)
    cursors = "int32" if state.backend.xp.iinfo(state.written.dtype).bits == 32 else "int64"
    indices = converted(state, Field("indices", (), cursors), indices)
    errors = converted(state, Field("td", (), "float32"), td)
    count = math.prod(indices.shape)
    if tuple(indices.shape) != (count,) or tuple(errors.shape) not in ((count,), (count, 1)):
        raise ValueError(
            f"indices has shape {tuple(indices.shape)} and td {tuple(errors.shape)}; "
            "expected [B], and [B] or [B, 1]"
        )
    if not count:
        return state
    return with_errors(state, indices, state.backend.xp.reshape(errors, (-1,)))


def drawable(state: State) -> AnyArray:
    """Return [] int, how many rows can be drawn now, valid or not."""
    state = native(state)
    return state.backend.xp.sum(counts(state), dtype=state.sizes.dtype)


def current_state(state: State) -> Any:
    """Return the frames to put before the newest observation: [n_frames - 1, *obs_shape].

    With several streams: [n_streams, n_frames - 1, *obs_shape]. Frames of earlier episodes are zero. A
    mapping of such arrays where observations are structured.
    """
    state = native(state)
    xp, spec = state.backend.xp, state.spec
    count, streams = spec.n_frames - 1, spec.n_streams
    if count:
        ages = numbers(state, 0, count)
        every = xp.repeat(numbers(state, 0, streams), count)
        rows = xp.reshape(of_age(state, every, xp.tile(ages, (streams,))), (streams, count))
        marks = xp.reshape(state.backend.take(state.marks, xp.reshape(rows, (-1,))), rows.shape)
        kept = continues(xp, marks, ages[None, :] < state.sizes[:, None])
        rows, kept = xp.flip(rows, axis=1), xp.flip(kept, axis=1)
    found = []
    for leaf in spec.leaves:
        column, frames = state.columns[leaf.column], leaf.n_frames - 1
        lead = (streams, frames) if streams > 1 else (frames,)
        if frames == 0:
            found.append(xp.zeros((*lead, *leaf.shape), dtype=column.dtype, device=device_of(column)))
            continue
        newest = state.backend.take(column, xp.reshape(rows[:, count - frames :], (-1,)))
        shown = xp.reshape(kept[:, count - frames :], (-1, *(1,) * len(leaf.shape)))
        newest = xp.where(shown, newest, xp.zeros_like(newest))
        found.append(xp.reshape(newest, (*lead, *leaf.shape)))
    return nested(spec.leaves, found)


def _extended(
    state: State,
    stream: Any,
    extras: Mapping[str, Any],
    boundary_rows: int | None,
    **given: Any,
) -> State:
    state = native(state)
    return with_steps(state, *checked_steps(state, stream, extras, **given), boundary_rows)


def _checked_draw(
    state: State, bits: AnyArray, draw: str, beta: Any
) -> tuple[State, AnyArray, Ordinals, AnyArray | None]:
    """Return the arguments of a draw in their final types."""
    state = native(state)
    bits = checked_bits(state, bits)
    if draw not in DRAWS:
        raise ValueError(f"draw={draw!r}; expected one of {', '.join(DRAWS)}")
    if beta is not None and state.priorities is not None:
        beta = converted(state, Field("beta", (), "float32"), beta)
    return state, bits, DRAWS[draw], beta


def _no_priorities(backend: Backend, capacity: int) -> Priorities:
    tree = backend.zeros((widetree.size(capacity),), "float32")
    return Priorities(tree, backend.zeros((1,), "float32") + 1.0)
