"""A buffer's rows to the functional form, and back."""

from dataclasses import replace
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, Backend
from trifolium.replay.graph import widetree
from trifolium.replay.graph.state import Priorities, State, check_capacity
from trifolium.replay.host.prioritized import Prioritized
from trifolium.replay.host.samplers import Sampler
from trifolium.replay.host.store import Store
from trifolium.replay.io import pieces
from trifolium.replay.schema import BufferSpec

__all__ = ["check_cursors", "restore_state", "sampler_of", "to_state"]


def to_state(spec: BufferSpec, backend: Backend, store: Store, sampler: Sampler) -> State:
    """Return a copy of a buffer's rows, and of its priorities where it has some."""
    check_capacity(spec)
    ring = store.ring
    state = State(
        columns={field.name: store.columns.copied(field.name) for field in spec.columns},
        actions=backend.from_numpy(store.actions.copy()),
        rewards=backend.from_numpy(store.rewards.copy()),
        marks=backend.from_numpy(ring.marks.copy()),
        written=backend.zeros((), backend.default_int),
        sizes=backend.from_numpy(ring.sizes.astype(backend.default_int)),
        successors={
            name: backend.from_numpy(given.copy()) for name, given in store.successors.arrays.items()
        },
        has_successor=backend.from_numpy(store.successors.waiting.copy()),
        priorities=None,
        spec=spec,
        priority_options=None,
        backend=backend,
    )
    written = (ring.written % state.serials).astype(backend.default_int)
    state = replace(state, written=backend.from_numpy(written))
    if not isinstance(sampler, Prioritized):
        return state
    masses, largest = sampler.masses(store)
    priorities = Priorities(
        backend.from_numpy(widetree.grown(np, masses.astype(np.float32))),
        backend.from_numpy(np.array([largest], np.float32)),
    )
    return replace(state, priorities=priorities, priority_options=sampler.priority_options)


def sampler_of(state: State) -> Prioritized | None:
    """Return a new sampler that draws as a state does; None where rows are drawn uniformly."""
    if state.priority_options is None:
        return None
    return Prioritized(**state.priority_options._asdict())


def restore_state(store: Store, sampler: Sampler, state: State) -> None:
    """Fill an empty store and a new sampler with a copy of the rows of ``state``."""
    to_numpy, ring = state.backend.to_numpy, store.ring
    host = {name: to_numpy(column) for name, column in _stored(state).items()}
    sizes = to_numpy(state.sizes).astype(np.int64)
    written = to_numpy(state.written).astype(np.int64)
    written += np.where(written < sizes, state.serials, 0)  # serial numbers had begun again
    ring.restore(written, sizes)
    chosen = ring.all_rows()
    successors: dict[str, Any] = {
        f"successor.{name}": to_numpy(given) for name, given in state.successors.items()
    }
    rows = {name: column[chosen] for name, column in host.items()} | successors
    rows |= {"written": written, "sizes": sizes, "has_successor": to_numpy(state.has_successor)}
    pieces.check_rows(store.spec, rows, state.spec.action_dtype)
    pieces.restore(store, rows)
    if state.priorities is not None:
        tree, largest = map(to_numpy, state.priorities)
        begin = ring.written - ring.sizes + ring.skipped
        known = {"known_from": begin, "known_to": begin + ring.drawable()}
        streams, serials = ring.identify(np.arange(state.capacity))
        is_known = (serials >= begin[streams]) & (serials < known["known_to"][streams])
        masses = {"leaves": np.where(is_known, tree[: state.capacity], 0.0), "largest": largest}
        sampler.restore(
            store, known | {name: array.astype(np.float64) for name, array in masses.items()}
        )


def check_cursors(state: State) -> None:
    """Raise ValueError if ``state`` holds the arrays of many states, as ``jax.vmap`` makes them."""
    if tuple(state.written.shape) != (state.spec.n_streams,):
        raise ValueError(
            f"state has cursors of shape {tuple(state.written.shape)}; expected "
            f"{(state.spec.n_streams,)}: if it holds many states, take one of them first"
        )


def _stored(state: State) -> dict[str, AnyArray]:
    columns = {f"column.{name}": column for name, column in state.columns.items()}
    return columns | {"actions": state.actions, "rewards": state.rewards, "marks": state.marks}
