"""The window of a sampled row: its stack, the stack of its successor, its n-step tail, its validity.

Pure functions over the array API: the host calls them with NumPy, and a compiler can trace them. Rows
are numbers of buffer rows. ``older`` and ``newer`` count the rows of the same stream that are stored
before and after a row.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from trifolium.backend import AnyArray, device_of
from trifolium.replay.rules.marks import (
    FIRST,
    LOST,
    NO_TRANSITION,
    TERMINATED,
    TRUNCATED,
    UNKNOWN,
)

__all__ = [
    "Stack",
    "Tail",
    "WindowShape",
    "Windows",
    "moved",
    "scalars",
    "stack",
    "tail",
    "valid",
    "windows",
]


@dataclass(frozen=True)
class WindowShape:
    """The options that shape a window.

    Attributes:
        length: rows in a stream's ring.
        n_frames: frames in a stack.
        n_step: steps in a tail, at most.
        pad: whether frames of earlier episodes are replaced by zeros; if not, a stack that holds
            some is not whole.
    """

    length: int
    n_frames: int = 1
    n_step: int = 1
    pad: bool = False

    @property
    def shares_frames(self) -> bool:
        """Whether a next stack holds the frames of its stack, moved on by one.

        Where a step terminated its episode, the next state has no meaning, so it may.
        """
        return self.n_step == 1


class Stack(NamedTuple):
    """The frames that end at a row, oldest first.

    Attributes:
        rows: [B, n_frames] int, buffer rows.
        kept: [B, n_frames] bool, False where padding replaces the frame; None where none is replaced.
        whole: [B] bool, whether the stack is one that could have been seen while acting.
    """

    rows: AnyArray
    kept: AnyArray | None
    whole: AnyArray

    def flat(self, xp: Any) -> tuple[AnyArray, AnyArray | None]:
        """Return rows and kept, each [B * n_frames]."""
        kept = None if self.kept is None else xp.reshape(self.kept, (-1,))
        return xp.reshape(self.rows, (-1,)), kept


class Tail(NamedTuple):
    """The steps whose rewards a row sums up.

    Attributes:
        rows: [B, n_step] int, buffer rows.
        summed: [B, n_step] bool, which of them count: the first always, then as far as the
            episode and the stored rows go.
        count: [B] int, how many count, k.
        terminated: [B] bool, whether the last that counts ended its episode.
    """

    rows: AnyArray
    summed: AnyArray
    count: AnyArray
    terminated: AnyArray


class Windows(NamedTuple):
    """The rows from which a batch is gathered.

    Attributes:
        states: the stacks that end at the rows drawn.
        next_states: the stacks that end where the tails end.
        tail: the steps summed.
        valid: [B] bool, which rows may be learned from.
    """

    states: Stack
    next_states: Stack
    tail: Tail
    valid: AnyArray

    def frames(
        self, xp: Any, shape: WindowShape
    ) -> tuple[AnyArray, AnyArray | None, AnyArray | None, AnyArray | None]:
        """Return the first four fields of :class:`trifolium.replay.rules.assemble.Plan`."""
        if not shape.shares_frames:
            return *self.states.flat(xp), *self.next_states.flat(xp)
        axis = 0 if shape.n_frames == 1 else 1
        rows = xp.concat([self.states.rows, self.next_states.rows[:, -1:]], axis=axis)
        kept = self.states.kept
        if kept is not None:  # a row's own frame is kept always, and that of the row after it
            kept = xp.reshape(xp.concat([kept, kept[:, -1:]], axis=1), (-1,))
        return xp.reshape(rows, (-1,)), kept, None, None


def windows(
    xp: Any, marks: AnyArray, rows: AnyArray, older: AnyArray, newer: AnyArray, shape: WindowShape
) -> Windows:
    """Return the windows of ``rows`` [B].

    Args:
        xp: array namespace.
        marks: [capacity] uint8, what each row is.
        rows: [B] int.
        older: [B] int, rows stored before each in its stream.
        newer: [B] int, rows stored after each in its stream; 0 only for a step that terminated its
            episode.
        shape: options.
    """
    states = stack(xp, marks, rows, older, shape)
    steps = tail(xp, marks, rows, newer, shape)
    ahead = xp.minimum(steps.count, newer)  # a terminated newest row has no successor
    next_rows = moved(rows, ahead, shape.length)
    is_valid = valid(xp, marks, rows, states.whole)
    if shape.shares_frames:
        frames = xp.concat([states.rows[:, 1:], next_rows[:, None]], axis=1)
        kept = states.kept
        if kept is not None:
            kept = xp.concat([kept[:, 1:], kept[:, -1:]], axis=1)
        next_states = Stack(frames, kept, states.whole)
    else:
        next_states = stack(xp, marks, next_rows, older + ahead, shape)
    return Windows(states, next_states, steps, is_valid)


def stack(xp: Any, marks: AnyArray, rows: AnyArray, older: AnyArray, shape: WindowShape) -> Stack:
    """Return the stacks that end at ``rows`` [B], before which ``older`` [B] rows are stored."""
    n_frames = shape.n_frames
    kept = [xp.ones_like(rows, dtype=xp.bool)]
    if n_frames == 1:
        return Stack(rows[:, None], None, kept[0])
    frames = moved(rows[:, None], _steps(xp, rows, 1 - n_frames, 1), shape.length)
    first = _is_marked(xp, marks, frames, FIRST)
    lost = _is_marked(xp, marks, frames, LOST)
    whole = kept[0]
    for frame in range(n_frames - 1, 0, -1):  # from the newest back; kept[0] speaks of `frame`
        reaches_back = kept[0] & ~first[:, frame]
        is_stored = ~lost[:, frame] & (older >= n_frames - frame)
        whole = whole & (is_stored | ~reaches_back)
        kept.insert(0, reaches_back)
    if shape.pad:
        return Stack(frames, xp.stack(kept, axis=1), whole)
    return Stack(frames, None, whole & kept[0])


def tail(xp: Any, marks: AnyArray, rows: AnyArray, newer: AnyArray, shape: WindowShape) -> Tail:
    """Return the n-step tails that begin at ``rows`` [B], after which ``newer`` [B] rows are stored.

    A tail continues until it has ``n_step`` steps, ends its episode, or would include a step whose
    successor is not known.
    """
    summed = [xp.ones_like(rows, dtype=xp.bool)]
    if shape.n_step == 1:
        one = xp.ones_like(rows)
        terminated = _is_marked(xp, marks, rows, TERMINATED)
        return Tail(rows[:, None], summed[0][:, None], one, terminated)
    steps = moved(rows[:, None], _steps(xp, rows, 0, shape.n_step), shape.length)
    terminated = _is_marked(xp, marks, steps, TERMINATED)
    ends = _is_marked(xp, marks, steps, TERMINATED | TRUNCATED)
    unknown = _is_marked(xp, marks, steps, UNKNOWN)
    for step in range(1, shape.n_step):
        goes_on = summed[-1] & ~ends[:, step - 1]
        is_known = (newer > step) | ((newer == step) & terminated[:, step])
        summed.append(goes_on & ~unknown[:, step] & is_known)
    counted = xp.stack(summed, axis=1)
    count = xp.sum(xp.astype(counted, rows.dtype), axis=1, dtype=rows.dtype)
    return Tail(steps, counted, count, xp.any(terminated & counted, axis=1))


def scalars(xp: Any, rewards: AnyArray, found: Windows, powers: AnyArray) -> tuple[AnyArray, ...]:
    """Return the columns of a batch with one number a row: rewards, dones, valid, discounts, each [B].

    Args:
        xp: array namespace.
        rewards: [capacity], of every row.
        found: the windows.
        powers: [n_step + 1] float, gamma ** 0 to gamma ** n_step.
    """
    return (
        _summed_rewards(xp, rewards, found.tail, powers[:-1]),
        found.tail.terminated,
        found.valid,
        xp.take(powers, found.tail.count, axis=0),
    )


def _summed_rewards(xp: Any, rewards: AnyArray, steps: Tail, powers: AnyArray) -> AnyArray:
    """Return the discounted sums [B] of the ``rewards`` [capacity] of tails."""
    found = xp.reshape(xp.take(rewards, xp.reshape(steps.rows, (-1,)), axis=0), steps.rows.shape)
    if steps.rows.shape[1] == 1:
        return found[:, 0]
    discounted = found * powers[None, :]
    return xp.sum(xp.where(steps.summed, discounted, xp.zeros_like(discounted)), axis=1)


def valid(xp: Any, marks: AnyArray, rows: AnyArray, whole: AnyArray) -> AnyArray:
    """Return [B] bool: the stack is whole, and its last row is a step with a known successor."""
    return whole & ~_is_marked(xp, marks, rows, NO_TRANSITION | UNKNOWN)


def moved(rows: AnyArray, places: AnyArray, length: int) -> AnyArray:
    """Return the rows that are ``places`` newer than ``rows``, in the ring of each."""
    place = rows % length
    return rows - place + (place + places) % length


def _steps(xp: Any, rows: AnyArray, start: int, stop: int) -> AnyArray:
    return xp.arange(start, stop, dtype=rows.dtype, device=device_of(rows))[None, :]


def _is_marked(xp: Any, marks: AnyArray, rows: AnyArray, mark: int) -> AnyArray:
    """Return whether ``rows`` (any shape) carry any of the bits of ``mark``: bool of that shape."""
    found = xp.take(marks, xp.reshape(rows, (-1,)), axis=0)
    return xp.reshape((found & mark) != 0, rows.shape)
