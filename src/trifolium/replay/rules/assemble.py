"""From drawn rows to a batch: which rows it is made of, the gather, and the cut into states."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from trifolium.backend import AnyArray, Backend, Params
from trifolium.replay.batch import Batch
from trifolium.replay.schema import BufferSpec, nested

__all__ = [
    "ACHIEVED",
    "DESIRED",
    "Packed",
    "Plan",
    "apart",
    "assemble",
    "assembler",
    "gather",
    "zeroed",
]

ACHIEVED, DESIRED = "obs/achieved_goal", "obs/desired_goal"
"""The columns of goals, by Gymnasium-Robotics' names."""


class Plan(NamedTuple):
    """The rows of a batch of N; F is the largest number of frames of a leaf.

    Attributes:
        frames: [N * F] int, rows of each state's frames, oldest first. Where the next state has the
            same frames, moved by one: [N * (F + 1)], or [2 * N], all states first, where F is 1.
        kept: a bool of each of ``frames``, False where zeros replace it; None where none is replaced.
        next_frames, next_kept: likewise of each next state; both None where ``frames`` holds them.
        actions: [N, *action_shape], or [N, 1].
        scalars: [5, N, 1] float32: rewards, dones, valid, discounts, weights.
        goals: ([N] bool, [N] int): whether a row gets another desired goal, and the row whose achieved
            goal that is; None if no row does.
    """

    frames: AnyArray
    kept: AnyArray | None
    next_frames: AnyArray | None
    next_kept: AnyArray | None
    actions: AnyArray
    scalars: AnyArray
    goals: tuple[AnyArray, AnyArray] | None = None


class Packed(NamedTuple):
    """The rows of a plan, gathered.

    Attributes:
        frames: of each leaf [N * F, *shape], or [N * (F + 1), *shape], as in :class:`Plan`.
        next_frames: likewise of each next state; None where ``frames`` holds them.
        actions: as in :class:`Plan`.
        scalars: as in :class:`Plan`.
        extras: of each extra [N, *shape].
    """

    frames: tuple[AnyArray, ...]
    next_frames: tuple[AnyArray, ...] | None
    actions: AnyArray
    scalars: AnyArray
    extras: tuple[AnyArray, ...]


def apart(plan: Plan, spec: BufferSpec) -> Plan:
    """Return the plan with the frames of next states by themselves, where they were shared."""
    if plan.next_frames is not None:
        return plan
    found: dict[str, AnyArray] = {}
    for name, values in (("frames", plan.frames), ("kept", plan.kept)):
        if values is not None:
            each = values.reshape(-1, spec.n_frames + 1)
            found |= {name: each[:, :-1].reshape(-1), f"next_{name}": each[:, 1:].reshape(-1)}
    return plan._replace(**found)


def zeroed(xp: Any, frames: AnyArray, kept: AnyArray) -> AnyArray:
    """Return ``frames`` [N, ...], with zeros where they are not ``kept`` [N] bool."""
    return xp.where(xp.reshape(kept, (-1, *(1,) * (frames.ndim - 1))), frames, xp.zeros_like(frames))


def gather(
    xp: Any,
    take: Callable[[AnyArray, AnyArray], AnyArray],
    spec: BufferSpec,
    columns: Params,
    plan: Plan,
    zero: Callable[[Any, AnyArray, AnyArray], AnyArray] = zeroed,
) -> Packed:
    """Gather the rows of a plan.

    Args:
        xp: array namespace of the columns.
        take: ``take(column, rows)`` gathers rows [N] of a column.
        spec: of the buffer.
        columns: the leaves of observations and the extras, each [capacity, ...].
        plan: the rows to gather, in arrays that ``take`` accepts.
        zero: as :func:`zeroed`; it may write to what ``take`` returned.
    """
    frames: tuple[AnyArray, ...]
    next_frames = None
    if not spec.is_structured and plan.next_frames is None and plan.kept is None:
        frames = (take(columns["obs"], plan.frames),)
    else:
        more = int(plan.next_frames is None)

        def kept_frames(rows: AnyArray, kept: AnyArray | None) -> tuple[AnyArray, ...]:
            found = []
            for leaf in spec.leaves:
                each, wanted = spec.n_frames + more, leaf.n_frames + more
                array = take(columns[leaf.column], _newest(xp, rows, each, wanted))
                if kept is not None:
                    array = zero(xp, array, _newest(xp, kept, each, wanted))
                found.append(array)
            return tuple(found)

        frames = kept_frames(plan.frames, plan.kept)
        if plan.next_frames is not None:
            next_frames = kept_frames(plan.next_frames, plan.next_kept)
    if plan.goals is not None:
        frames = _with_goals(xp, take, spec, columns, plan, frames)
        if next_frames is not None:
            next_frames = _with_goals(xp, take, spec, columns, plan, next_frames)
    if not spec.extras:
        return Packed(frames, next_frames, plan.actions, plan.scalars, ())
    newest = _newest_row(xp, spec, plan)
    extras = tuple([take(columns[name], newest) for name, _, _ in spec.extras])
    return Packed(frames, next_frames, plan.actions, plan.scalars, extras)


def assemble(
    backend: Backend, spec: BufferSpec, columns: Params, plan: Plan | Packed, *, flatten: bool
) -> Batch:
    """Return the batch of a plan, without indices. It can be traced, as a part of a compiled update.

    Args:
        backend: owner of the columns.
        spec: of the buffer.
        columns: the leaves of observations and the extras; not used where ``plan`` is gathered already.
        plan: on the backend's device.
        flatten: whether states are [N, n_frames * prod(obs_shape)] instead of
            [N, n_frames, *obs_shape].
    """
    xp = backend.xp
    packed = gather(xp, backend.take, spec, columns, plan) if isinstance(plan, Plan) else plan
    states: Any
    next_states: Any
    if not spec.is_structured and packed.next_frames is None:
        states, next_states = _cut(xp, packed.frames[0], spec, packed, flatten)
    elif packed.next_frames is None:
        pairs = [_cut(xp, found, spec, packed, flatten) for found in packed.frames]
        states, next_states = (nested(spec.leaves, half) for half in zip(*pairs, strict=True))
    else:
        states, next_states = (
            nested(spec.leaves, [_shaped(xp, found, packed, flatten) for found in half])
            for half in (packed.frames, packed.next_frames)
        )
    rewards, dones, valid, discounts, weights = xp.unstack(packed.scalars)
    extras = packed.extras
    return Batch(
        states,
        packed.actions,
        rewards,
        next_states,
        dones,
        valid,
        discounts,
        weights,
        None,
        {kind[0]: found for kind, found in zip(spec.extras, extras, strict=True)} if extras else {},
    )


def assembler(
    backend: Backend, spec: BufferSpec, *, flatten: bool
) -> Callable[[Params, Plan | Packed], Batch]:
    """Return :func:`assemble` compiled: one function for all buffers of a kind."""
    return _assembler(backend, spec, flatten)  # type: ignore[arg-type]


@cache  # backends are compared by identity, and get_backend returns one object per name and device
def _assembler(
    backend: Backend, spec: BufferSpec, flatten: bool
) -> Callable[[Params, Plan | Packed], Batch]:
    def run(columns: Params, plan: Plan | Packed) -> Batch:
        return assemble(backend, spec, columns, plan, flatten=flatten)

    return backend.compile(run)


def _with_goals(
    xp: Any,
    take: Callable[[AnyArray, AnyArray], AnyArray],
    spec: BufferSpec,
    columns: Params,
    plan: Plan,
    frames: tuple[AnyArray, ...],
) -> tuple[AnyArray, ...]:
    """Return the frames of each leaf, with other desired goals where the plan says so."""
    assert plan.goals is not None
    count = plan.actions.shape[0]
    found = []
    for leaf, array in zip(spec.leaves, frames, strict=True):
        if leaf.column == DESIRED:
            each = array.shape[0] // count
            given, rows = (_spread(xp, part, spec, each) for part in plan.goals)
            given = xp.reshape(given, (-1, *(1,) * (array.ndim - 1)))
            array = xp.where(given, take(columns[ACHIEVED], rows), array)
        found.append(array)
    return tuple(found)


def _spread(xp: Any, values: AnyArray, spec: BufferSpec, each: int) -> AnyArray:
    """Return a value of every row for ``each`` of its frames: of all states first, or row by row."""
    if spec.n_frames == 1:
        return xp.tile(values, (each,))
    return xp.repeat(values, each)


def _newest(xp: Any, frames: AnyArray, each: int, wanted: int) -> AnyArray:
    """Return the newest ``wanted`` of ``each`` frames of every row: [N * wanted] of [N * each]."""
    if wanted == each:
        return frames
    return xp.reshape(xp.reshape(frames, (-1, each))[:, each - wanted :], (-1,))


def _newest_row(xp: Any, spec: BufferSpec, plan: Plan) -> AnyArray:
    """Return the row [N] of the newest frame of each state."""
    if plan.next_frames is not None:
        return xp.reshape(plan.frames, (-1, spec.n_frames))[:, -1]
    if spec.n_frames == 1:
        return plan.frames[: plan.frames.shape[0] // 2]
    return xp.reshape(plan.frames, (-1, spec.n_frames + 1))[:, -2]


def _cut(
    xp: Any, frames: AnyArray, spec: BufferSpec, packed: Packed, flatten: bool
) -> tuple[AnyArray, AnyArray]:
    """Return the states and the next states that share ``frames``."""
    count = packed.actions.shape[0]
    if spec.n_frames == 1:
        if flatten and frames.ndim == 2:
            return frames[:count, ...], frames[count:, ...]  # they have that shape already
        states, next_states = frames[:count, ...], frames[count:, ...]
    else:
        both = xp.reshape(frames, (count, -1, *frames.shape[1:]))
        states, next_states = both[:, :-1, ...], both[:, 1:, ...]
    shape = (count, -1) if flatten else (count, -1, *frames.shape[1:])
    return xp.reshape(states, shape), xp.reshape(next_states, shape)


def _shaped(xp: Any, frames: AnyArray, packed: Packed, flatten: bool) -> AnyArray:
    count = packed.actions.shape[0]
    return xp.reshape(frames, (count, -1) if flatten else (count, -1, *frames.shape[1:]))
