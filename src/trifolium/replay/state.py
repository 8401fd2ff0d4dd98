"""The state of a replay memory as plain arrays, for code that is compiled."""

from dataclasses import dataclass, field
from typing import NamedTuple

from trifolium.backend import Array, Backend, Params
from trifolium.replay.spec import BufferSpec

__all__ = ["Priorities", "PriorityOptions", "State", "check_capacity"]

LARGEST_CAPACITY = 1 << 29  # so that numbers of rows, added up, stay within 32 bits


class PriorityOptions(NamedTuple):
    """The options of :class:`trifolium.Prioritized`, which tells what each means."""

    alpha: float
    beta: float
    epsilon: float


class Priorities(NamedTuple):
    """What draws by priority need.

    Attributes:
        tree: sums of masses, as :mod:`trifolium.replay.widetree` lays them out.
        largest: [1] float32, the largest raw priority seen.
    """

    tree: Array
    largest: Array


@dataclass(frozen=True, eq=False)
class State:
    """All that a :class:`trifolium.Buffer` stores, in the backend's arrays.

    :func:`trifolium.replay.init` makes one. What is static is no array, and the same in all states of
    one memory; the JAX and torch backends register the class as a pytree with the rest for leaves.

    Attributes:
        columns: "obs" and the extras, each [capacity, ...]; stream s has the rows from
            ``s * capacity / n_streams`` on.
        actions: [capacity, *action_shape].
        rewards: [capacity] float32.
        marks: [capacity] uint8, what each row is: a sum of the constants of
            :mod:`trifolium.replay.ring`.
        written: [n_streams] int, rows ever written to each stream, modulo ``serials``.
        sizes: [n_streams] int, rows that each stream holds.
        priorities: None where rows are drawn uniformly.
        spec: static, the options.
        priority_options: static, None where rows are drawn uniformly.
        backend: static, whose arrays these are.
    """

    columns: Params
    actions: Array
    rewards: Array
    marks: Array
    written: Array
    sizes: Array
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

        They are so many that no integer overflows, and none is given twice within 2**29 rows.
        """
        bits = 30 if self.backend.default_int == "int32" else 62
        length = self.spec.window.length
        return (1 << bits) // self.spec.capacity * length


def check_capacity(spec: BufferSpec) -> None:
    """Raise ValueError if a state can't have so many rows."""
    if spec.capacity > LARGEST_CAPACITY:
        raise ValueError(
            f"capacity={spec.capacity} is too large for the functional form; "
            f"expected at most {LARGEST_CAPACITY}"
        )
