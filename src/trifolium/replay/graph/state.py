"""The state of a replay memory as plain arrays, and where its rows are: for code that is compiled.

The age of a row is the number of rows written to its stream since: the newest row has age 0.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from trifolium.backend import AnyArray, Backend, Params, device_of
from trifolium.replay.rules.marks import TERMINATED
from trifolium.replay.rules.priorities import PriorityOptions
from trifolium.replay.rules.ring import drawable_counts, rows_of, skipped_rows
from trifolium.replay.rules.windows import stack, valid
from trifolium.replay.schema import BufferSpec

__all__ = [
    "Priorities",
    "State",
    "check_capacity",
    "counts",
    "native",
    "newest_marks",
    "numbers",
    "of_age",
    "older_than",
    "skipped",
    "valid_of_age",
]

LARGEST_CAPACITY = 1 << 29  # so that numbers of rows, added up, stay within 32 bits


class Priorities(NamedTuple):
    """What draws by priority need.

    Attributes:
        tree: sums of masses, in the layout of :mod:`trifolium.replay.graph.widetree`.
        largest: [1] float32, the largest raw priority seen.
    """

    tree: AnyArray
    largest: AnyArray


@dataclass(frozen=True, eq=False)
class State:
    """All that a :class:`trifolium.Buffer` stores, in the backend's arrays.

    :func:`trifolium.replay.init` makes one. It is a pytree of JAX and of torch. Static fields are not
    part of the pytree; they are the same in all states of one memory.

    Attributes:
        columns: the leaves of observations ("obs", if they are one array) and the extras, each
            [capacity, ...]; stream s has the rows from ``s * capacity / n_streams`` on.
        actions: [capacity, *action_shape].
        rewards: [capacity] float32.
        marks: [capacity] uint8, what each row is: a sum of the constants of
            :mod:`trifolium.replay.rules.marks`.
        written: [n_streams] int, rows ever written to each stream, modulo ``serials``.
        sizes: [n_streams] int, rows that each stream holds.
        successors: the leaves of observations, each [n_streams, ...]: the ``next_obs`` given with the
            newest step of each stream.
        has_successor: [n_streams] bool, whether that step waits for a row to compare it with.
        priorities: None where rows are drawn uniformly.
        spec: static, the options.
        priority_options: static, None where rows are drawn uniformly.
        backend: static, whose arrays these are.
    """

    columns: Params
    actions: AnyArray
    rewards: AnyArray
    marks: AnyArray
    written: AnyArray
    sizes: AnyArray
    successors: Params
    has_successor: AnyArray
    priorities: Priorities | None
    spec: BufferSpec = field(metadata={"static": True})
    priority_options: PriorityOptions | None = field(metadata={"static": True})
    backend: Backend = field(metadata={"static": True})

    @property
    def capacity(self) -> int:
        """Rows held at most, of all streams together."""
        return self.spec.capacity

    @property
    def serials(self) -> int:
        """How many serial numbers a stream has: after the last comes 0, where a ring begins too.

        There are so many that no integer overflows, and no number is used twice within 2**29 rows.
        """
        # the dtype of the cursors, as the default integer may have changed since (JAX's x64)
        bits = self.backend.xp.iinfo(self.written.dtype).bits - 2
        length = self.spec.window.length
        return (1 << bits) // self.spec.capacity * length


def native(state: State) -> State:
    """Return ``state`` with arrays of its backend, where they are host arrays: a copy of these.

    ``jax.device_get`` and the like leave host arrays.

    Raises:
        BackendError: the backend lacks the dtype of the cursors now: JAX without x64 lacks int64.
    """
    backend = state.backend
    if backend.default_int == "int32" and backend.xp.iinfo(state.written.dtype).bits == 64:
        backend.dtype("int64")  # raises
    if backend.is_array(state.written):
        return state

    def moved(array: Any) -> AnyArray:
        return backend.xp.asarray(array, device=backend.device, copy=True)

    def moved_all(columns: Params) -> Params:
        return {name: moved(column) for name, column in columns.items()}

    arrays = ("actions", "rewards", "marks", "written", "sizes", "has_successor")
    return replace(
        state,
        columns=moved_all(state.columns),
        successors=moved_all(state.successors),
        priorities=None if state.priorities is None else Priorities(*map(moved, state.priorities)),
        **{name: moved(getattr(state, name)) for name in arrays},
    )


def check_capacity(spec: BufferSpec) -> None:
    """Raise ValueError if a state can't have so many rows."""
    if spec.capacity > LARGEST_CAPACITY:
        raise ValueError(
            f"capacity={spec.capacity} is too large for the functional form; "
            f"expected at most {LARGEST_CAPACITY}"
        )


def numbers(state: State, start: int, stop: int) -> AnyArray:
    """Return [stop - start] integers from ``start``, of the dtype of the cursors."""
    xp = state.backend.xp
    return xp.arange(start, stop, dtype=state.written.dtype, device=device_of(state.written))


def of_age(state: State, streams: AnyArray, ages: AnyArray) -> AnyArray:
    """Return the rows [N] that are ``ages`` [N] rows older than the newest of ``streams`` [N].

    A row with an age below 0 is yet to be written.
    """
    written = state.backend.take(state.written, streams)
    rows: AnyArray = rows_of(streams, written - 1 - ages, state.spec.window.length)
    return rows


def older_than(state: State, streams: AnyArray, ages: AnyArray) -> AnyArray:
    """Return how many rows [N] are stored before the rows of ``ages`` [N] of ``streams`` [N]."""
    return state.backend.take(state.sizes, streams) - 1 - ages


def skipped(state: State) -> int:
    """Return how many of the oldest rows of a stream can't be drawn."""
    return skipped_rows(state.spec.n_frames, pad=state.spec.window.pad)


def newest_marks(state: State) -> AnyArray:
    """Return [n_streams] uint8, the marks of the newest rows; any value where nothing is stored."""
    streams = numbers(state, 0, state.spec.n_streams)
    return state.backend.take(state.marks, of_age(state, streams, streams * 0))


def counts(state: State, span: int = 1) -> AnyArray:
    """Return how many runs of ``span`` rows can be drawn from each stream: [n_streams]."""
    return drawable_counts(state.backend.xp, state.sizes, newest_marks(state), skipped(state), span)


def valid_of_age(state: State, streams: AnyArray, ages: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return (rows, valid), each [N]: valid are the rows that can be drawn and are fit for a loss."""
    xp: Any = state.backend.xp
    rows = of_age(state, streams, ages)
    older = older_than(state, streams, ages)
    whole = stack(xp, state.marks, rows, older, state.spec.window).whole
    terminated = (state.backend.take(state.marks, rows) & TERMINATED) != 0
    can_be_drawn = ((ages >= 1) | terminated) & (older >= skipped(state))
    return rows, valid(xp, state.marks, rows, whole) & can_be_drawn
