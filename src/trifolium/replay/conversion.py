"""A buffer's rows to the functional form, and back."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np

from trifolium.backend import Array, Backend, get_backend
from trifolium.replay import widetree
from trifolium.replay.rows import Rows
from trifolium.replay.samplers import Prioritized, Sampler
from trifolium.replay.spec import BufferSpec, options_of
from trifolium.replay.state import Priorities, PriorityOptions, State, check_capacity

__all__ = ["from_state", "to_state"]

B = TypeVar("B")


def to_state(spec: BufferSpec, backend: Backend, rows: Rows, sampler: Sampler) -> State:
    """Return a copy of a buffer's rows, and of its priorities where it has some."""
    check_capacity(spec)
    ring = rows.ring
    state = State(
        columns={field.name: rows.storage.copied(field.name) for field in spec.columns},
        actions=backend.from_numpy(rows.actions.copy()),
        rewards=backend.from_numpy(rows.rewards.copy()),
        marks=backend.from_numpy(ring.marks.copy()),
        written=backend.zeros((), backend.default_int),
        sizes=backend.from_numpy(ring.sizes.astype(backend.default_int)),
        priorities=None,
        spec=spec,
        priority_options=None,
        backend=backend,
    )
    written = (ring.written % state.serials).astype(backend.default_int)
    state = replace(state, written=backend.from_numpy(written))
    if not isinstance(sampler, Prioritized):
        return state
    masses, largest = sampler.masses(rows)
    priorities = Priorities(
        backend.from_numpy(widetree.grown(masses)),
        backend.from_numpy(np.array([largest], np.float32)),
    )
    return replace(state, priorities=priorities, priority_options=PriorityOptions(**sampler.options))


def from_state(
    make: Callable[..., B], state: State, backend: str | Backend | None, device: Any, seed: int | None
) -> B:
    """Return ``make(**options)`` filled with a copy of the rows of ``state``."""
    if tuple(state.written.shape) != (state.spec.n_streams,):
        raise ValueError(
            f"state has cursors of shape {tuple(state.written.shape)}; expected "
            f"{(state.spec.n_streams,)}: if it holds many states, take one of them first"
        )
    chosen = get_backend(state.backend if backend is None else backend, device=device)
    sampler = None
    if state.priority_options is not None:
        sampler = Prioritized(**state.priority_options._asdict())
    options = options_of(asdict(state.spec), chosen)
    buffer: Any = make(**options, backend=chosen, seed=seed, sampler=sampler)
    _restore(buffer._rows, state)
    if sampler is not None:
        _restore_priorities(sampler, buffer._rows, state)
    return buffer


def _restore(rows: Rows, state: State) -> None:
    host = {name: state.backend.to_numpy(column) for name, column in _stored(state).items()}
    sizes = state.backend.to_numpy(state.sizes).astype(np.int64)
    written = state.backend.to_numpy(state.written).astype(np.int64)
    written += np.where(written < sizes, state.serials, 0)  # serial numbers had begun again
    rows.ring.restore(written, sizes)
    chosen = rows.ring.all_rows()
    rows.restore(
        {name: column[chosen] for name, column in host.items()} | {"written": written, "sizes": sizes}
    )


def _stored(state: State) -> dict[str, Array]:
    columns = {f"column.{name}": column for name, column in state.columns.items()}
    return columns | {"actions": state.actions, "rewards": state.rewards, "marks": state.marks}


def _restore_priorities(sampler: Prioritized, rows: Rows, state: State) -> None:
    assert state.priorities is not None
    tree, largest = map(state.backend.to_numpy, state.priorities)
    ring = rows.ring
    begin = ring.written - ring.sizes + ring.oldest_drawable
    known = {"known_from": begin, "known_to": begin + ring.drawable()}
    masses = {"leaves": tree[: state.spec.capacity], "largest": largest}
    sampler.restore(rows, known | {name: array.astype(np.float64) for name, array in masses.items()})
