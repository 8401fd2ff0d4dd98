"""The rows that a chunk of steps takes: T steps of each of S streams, written at once.

A step takes one row. A boundary row holds the observation after a step where the next row does not:
after a truncated step, and after a step whose given successor differs from the observation that follows
it in its stream. Pure functions over the array API.
"""

from typing import Any, NamedTuple

from trifolium.backend import AnyArray, Params, device_of
from trifolium.replay.rules.marks import BOUNDARY, FIRST, TERMINATED, TRUNCATED, UNKNOWN
from trifolium.replay.rules.ordinals import running_sum
from trifolium.replay.rules.steps import Chunk

__all__ = [
    "Cuts",
    "Layout",
    "chosen",
    "chosen_marks",
    "differs",
    "find_cuts",
    "layout",
    "limited",
    "step_marks",
]


class Cuts(NamedTuple):
    """Where boundary rows are.

    Attributes:
        start: [S] bool, whether one comes before the first step, for the step stored before.
        after: [T, S] bool, whether one comes after a step.
    """

    start: AnyArray
    after: AnyArray


class Layout(NamedTuple):
    """The rows to write and their sources: M places of each stream, the last one for its newest row.

    Attributes:
        offsets: [M, S] int, rows from the cursor on; below 0 where nothing is written.
        steps: [M, S] int, the step that the row is of, or comes after.
        is_step: [M, S] bool, whether it is the row of a step; else it is a boundary row.
        is_start: [M, S] bool, whether it is the boundary row before the first step.
        count: [S] int, rows written to each stream.
    """

    offsets: AnyArray
    steps: AnyArray
    is_step: AnyArray
    is_start: AnyArray
    count: AnyArray


def differs(xp: Any, given: AnyArray, found: AnyArray, axes: int) -> AnyArray:
    """Return whether observations differ, NaN being equal to NaN: bool, of the first ``axes`` axes."""
    if given is found:
        return xp.zeros(given.shape[:axes], dtype=xp.bool, device=device_of(given))
    unequal = given != found
    if xp.isdtype(given.dtype, "real floating"):
        unequal = unequal & ((given == given) | (found == found))
    size = 1
    for axis in given.shape[:axes]:
        size *= axis
    return xp.reshape(xp.any(xp.reshape(unequal, (size, -1)), axis=1), given.shape[:axes])


def find_cuts(xp: Any, steps: Chunk, waits: AnyArray, pending: Params) -> Cuts:
    """Return where boundary rows are, for steps that are truncated or have another successor.

    Args:
        xp: array namespace.
        steps: T steps of each of S streams.
        waits: [S] bool, whether the step stored before waits for its successor.
        pending: the successors that were given for these, [S, ...] of each leaf; empty if none waits.
    """
    n_steps, n_streams = steps.terminated.shape
    start = xp.zeros_like(waits)
    for name, given in pending.items():
        first = xp.reshape(steps.columns[name], (n_steps, n_streams, -1))[0, ...]
        start = start | differs(xp, xp.reshape(given, (n_streams, -1)), first, 1)
    start = start & waits
    if steps.taken is not None:
        start = start & steps.taken
    if steps.following is None:
        return Cuts(start, xp.zeros_like(steps.truncated))
    if n_steps == 1:
        return Cuts(start, steps.truncated)
    unlike = xp.zeros_like(steps.truncated[1:, :])
    for name, following in steps.following.items():
        found = xp.reshape(steps.columns[name], (n_steps, n_streams, -1))
        after = xp.reshape(following, found.shape)
        unlike = unlike | differs(xp, after[:-1, ...], found[1:, ...], 2)
    goes_on = ~(steps.terminated[:-1, :] | steps.truncated[:-1, :])
    after_steps = steps.truncated[:-1, :] | (goes_on & unlike)
    return Cuts(start, xp.concat([after_steps, steps.truncated[-1:, :]], axis=0))


def limited(xp: Any, cuts: Cuts, most: int) -> tuple[Cuts, AnyArray]:
    """Return the first ``most`` >= 1 of the ``cuts`` of each stream, and [T, S] where others are."""
    place = running_sum(xp, xp.astype(cuts.after, xp.int32).T).T
    place = place + xp.astype(cuts.start, xp.int32)[None, :]
    return Cuts(cuts.start, cuts.after & (place <= most)), cuts.after & (place > most)


def step_marks(
    xp: Any,
    dtype: Any,
    opens: AnyArray,
    terminated: AnyArray,
    truncated: AnyArray,
    cuts: Cuts,
    unknown: AnyArray | None,
) -> AnyArray:
    """Return the marks of the rows of the steps: [T, S].

    Args:
        xp: array namespace.
        dtype: of the marks.
        opens: [S] bool, whether the row stored before ended its episode, or nothing is stored.
        terminated: [T, S] bool.
        truncated: [T, S] bool, False where ``terminated`` is True.
        cuts: where boundary rows are.
        unknown: [T, S] bool, which of the truncated steps have no known successor; None for none.
    """
    ended = terminated | truncated | cuts.after
    first = xp.concat([(opens | cuts.start)[None, :], ended[:-1, :]], axis=0)
    marks = (
        xp.astype(first, dtype) * FIRST
        + xp.astype(terminated, dtype) * TERMINATED
        + xp.astype(truncated | cuts.after, dtype) * TRUNCATED
    )
    return marks if unknown is None else marks + xp.astype(unknown, dtype) * UNKNOWN


def layout(xp: Any, cuts: Cuts, most: int, dtype: Any, taken: AnyArray | None = None) -> Layout:
    """Return the rows to write and their sources.

    Args:
        xp: array namespace.
        cuts: where boundary rows are.
        most: M, how many places each stream has: no more than its ring has rows.
        dtype: an integer dtype.
        taken: [S] bool, which streams are written; None for all.
    """
    steps, streams = cuts.after.shape
    device = device_of(cuts.after)
    after, start = xp.astype(cuts.after, dtype), xp.astype(cuts.start, dtype)
    earlier = running_sum(xp, after.T).T - after if steps > 1 else xp.zeros_like(after)
    number = xp.arange(steps, dtype=dtype, device=device)[:, None]
    position = number + earlier + start[None, :]  # of each step, in rows from the cursor on
    count = start + steps + xp.sum(after, axis=0, dtype=dtype)
    if taken is not None:
        count = xp.where(taken, count, xp.zeros_like(count))
    offsets = xp.arange(most, dtype=dtype, device=device)[:, None] + (count - most)[None, :]
    found = xp.zeros_like(offsets) if steps == 1 else _steps_at(xp, position, offsets)
    is_start = (offsets == 0) & cuts.start[None, :]
    flat = xp.reshape(found * streams + xp.arange(streams, dtype=dtype, device=device)[None, :], (-1,))
    of_step = xp.reshape(xp.take(xp.reshape(position, (-1,)), flat, axis=0), offsets.shape)
    return Layout(offsets, found, offsets == of_step, is_start, count)


def chosen(
    xp: Any, found: Layout, values: AnyArray, following: AnyArray | None, pending: AnyArray | None
) -> AnyArray:
    """Return the values of the rows of a layout: [M * S, ...].

    Args:
        xp: array namespace.
        found: the layout.
        values: [T * S, ...], what the rows of steps hold.
        following: [T * S, ...], what boundary rows after steps hold; None for zeros.
        pending: [S, ...], what the boundary row before the first step holds; None for zeros.
    """
    streams = found.count.shape[0]
    number = xp.arange(streams, dtype=found.steps.dtype, device=device_of(found.steps))[None, :]
    flat = xp.reshape(found.steps * streams + number, (-1,))
    shape = (-1, *(1,) * (values.ndim - 1))
    of_steps = xp.take(values, flat, axis=0)
    others = xp.zeros_like(of_steps) if following is None else xp.take(following, flat, axis=0)
    if pending is not None:
        place = xp.reshape(number + xp.zeros_like(found.steps), (-1,))
        before = xp.take(pending, place, axis=0)
        others = xp.where(xp.reshape(found.is_start, shape), before, others)
    return xp.where(xp.reshape(found.is_step, shape), of_steps, others)


def chosen_marks(xp: Any, found: Layout, marks: AnyArray) -> AnyArray:
    """Return the marks of the rows of a layout, [M * S], for the ``marks`` [T, S] of steps."""
    flat = xp.reshape(marks, (-1,))
    boundary = xp.full_like(flat, BOUNDARY)
    return chosen(xp, found, flat, boundary, boundary[: found.count.shape[0]])


def _steps_at(xp: Any, position: AnyArray, offsets: AnyArray) -> AnyArray:
    """Return the last step at or before each of ``offsets`` [M, S], 0 where there is none: [M, S].

    All streams are searched at once: their positions are moved apart, so that one array is sorted.
    """
    steps, streams = position.shape
    apart = xp.arange(streams, dtype=position.dtype, device=device_of(position))[None, :]
    apart = apart * (2 * steps + 2)
    inside = xp.where(offsets > 0, offsets, xp.zeros_like(offsets))
    ascending = xp.reshape((position + apart).T, (-1,))
    wanted = xp.reshape((inside + apart).T, (-1,))
    place = xp.astype(xp.searchsorted(ascending, wanted, side="right"), position.dtype) - 1
    number = xp.reshape(place, (streams, -1)).T - apart // (2 * steps + 2) * steps
    return xp.where(number > 0, number, xp.zeros_like(number))
