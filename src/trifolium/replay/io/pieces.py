"""The rows of a store in pieces: to a file, and back, after all that a file says was checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from trifolium._checks import Field
from trifolium.files import PIECE_BYTES, PiecewiseArray, StoredArray
from trifolium.replay.host.store import Store
from trifolium.replay.rules.marks import (
    ENDED,
    NO_TRANSITION,
    TERMINATED,
    TRUNCATED,
    UNKNOWN,
)
from trifolium.replay.schema import BufferSpec

__all__ = [
    "Saved",
    "check_marks",
    "check_rows",
    "check_successors",
    "restore",
    "restore_successors",
    "stored",
]

Saved: TypeAlias = "np.ndarray | StoredArray"
"""An array of a file, or one in memory: it has a shape and a dtype, and rows by slices."""

_ROWS = 65_536  # of a piece, at most
_CURSORS = ("written", "sizes")
_SMALL = {"rewards": Field("rewards", (), "float32"), "marks": Field("marks", (), "uint8")}

_EVERY_MARK = np.arange(256)
_IS_IDLE = (_EVERY_MARK & NO_TRANSITION) != 0
_IS_MARK = _EVERY_MARK < 128
_IS_MARK &= (_EVERY_MARK & NO_TRANSITION) != NO_TRANSITION
_IS_MARK &= ~(_IS_IDLE & ((_EVERY_MARK & (TERMINATED | TRUNCATED | UNKNOWN)) != 0))


def stored(store: Store) -> dict[str, np.ndarray | PiecewiseArray]:
    """Return the stored rows, stream after stream and oldest first, and the cursors.

    The rows are read as they are written: the store must not change before.
    """
    ring, spec, columns = store.ring, store.spec, store.columns

    def pieces(field: Field, read: Callable[[np.ndarray], np.ndarray]) -> PiecewiseArray:
        count = rows_of_a_piece(field.nbytes)
        shape = (int(ring.sizes.sum()), *field.shape)
        return PiecewiseArray(shape, field.dtype, lambda: map(read, ring.rows_by_age(count)))

    def of_column(name: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: columns.read(name, rows)

    action = Field("actions", spec.action_shape, spec.action_dtype)
    found: dict[str, np.ndarray | PiecewiseArray] = {
        f"column.{field.name}": pieces(field, of_column(field.name)) for field in spec.columns
    }
    found |= {
        "actions": pieces(action, lambda rows: store.actions[rows]),
        "rewards": pieces(_SMALL["rewards"], lambda rows: store.rewards[rows]),
        "marks": pieces(_SMALL["marks"], lambda rows: ring.marks[rows]),
        "written": ring.written.copy(),
        "sizes": ring.sizes.copy(),
    }
    if store.successors.any:
        given = store.successors.arrays
        found |= {f"successor.{name}": each.copy() for name, each in given.items()}
        found["has_successor"] = store.successors.waiting.copy()
    return found


def check_rows(spec: BufferSpec, state: Mapping[str, Saved], action_dtype: str) -> int:
    """Return how many rows ``state`` has, once its arrays have the shapes and dtypes of ``spec``.

    Only the cursors are read, and no memory is allocated for the rows.

    Args:
        spec: the options of the buffer.
        state: what :func:`stored` returned.
        action_dtype: of the actions in it.

    Raises:
        ValueError, TypeError: an array does not fit; the message names it.
        KeyError: one is missing.
    """
    for name in _CURSORS:
        _check(name, state[name], (spec.n_streams,), "int64")
    rows = int(np.asarray(state["sizes"]).sum())
    fields = {f"column.{field.name}": field for field in spec.columns} | _SMALL
    fields["actions"] = Field("actions", spec.action_shape, action_dtype)
    for name, field in fields.items():
        _check(name, state[name], (rows, *field.shape), field.dtype.name)
    successors = _successors(spec)
    if "has_successor" in state:
        check_successors(spec, state)
    known = {*fields, *_CURSORS, *(successors if "has_successor" in state else ())}
    unknown = sorted(state.keys() - known)
    if unknown:
        raise ValueError(f"{', '.join(unknown)[:200]} is no part of such a buffer")
    return rows


def restore(store: Store, state: Mapping[str, Saved]) -> None:
    """Set what :func:`stored` returned, in an empty store; ValueError where it can't be.

    Args:
        store: of the spec for which :func:`check_rows` has checked the arrays.
        state: what :func:`stored` returned.
    """
    ring, spec = store.ring, store.spec
    ring.restore(*(np.asarray(state[name]) for name in _CURSORS))
    action = Field("actions", spec.action_shape, spec.action_dtype)
    row_bytes = sum(field.nbytes for field in spec.columns)
    start = 0
    for rows in ring.rows_by_age(rows_of_a_piece(row_bytes)):
        piece = slice(start, start + len(rows))
        start = piece.stop
        marks = state["marks"][piece]
        check_marks(marks)
        ring.marks[rows] = marks
        store.actions[rows] = action.rows(state["actions"][piece], len(rows))
        store.rewards[rows] = state["rewards"][piece]
        columns = {field.name: state[f"column.{field.name}"][piece] for field in spec.columns}
        store.columns.put_many(rows, columns)
    ring.find_newest()
    if "has_successor" in state:
        restore_successors(store, state)


def check_successors(spec: BufferSpec, state: Mapping[str, Saved]) -> None:
    """Raise an error unless the successors in ``state`` have the shapes and dtypes of ``spec``."""
    _check("has_successor", state["has_successor"], (spec.n_streams,), "bool")
    for name, (shape, dtype) in _successors(spec).items():
        if name != "has_successor":
            _check(name, state[name], shape, dtype)


def restore_successors(store: Store, state: Mapping[str, Saved]) -> None:
    """Set the successors of :func:`stored`; raise ValueError where there can be none."""
    spec, waits = store.spec, np.asarray(state["has_successor"])
    if np.any(waits & ((store.ring.newest_marks & (ENDED | NO_TRANSITION)) != 0)):
        raise ValueError("has_successor is set after a row that is no step of an open episode")
    given = {
        leaf.column: np.asarray(state[f"successor.{leaf.column}"])
        if waits.any()
        else np.zeros((spec.n_streams, *leaf.shape), leaf.dtype)
        for leaf in spec.leaves
    }
    store.successors.give_each(np.arange(spec.n_streams), given, waits)


def check_marks(marks: np.ndarray) -> None:
    """Raise ValueError if some of ``marks`` [N] uint8 are those of no row."""
    wrong = ~_IS_MARK[marks]
    if wrong.any():
        raise ValueError(f"marks holds {int(marks[wrong][0])}, which is the mark of no row")


def rows_of_a_piece(row_bytes: int) -> int:
    """Return how many rows are read or written at a time: a power of four, for compiled writes."""
    count = min(max(PIECE_BYTES // max(row_bytes, 1), 1), _ROWS)
    return 1 << (count.bit_length() - 1) // 2 * 2


def _successors(spec: BufferSpec) -> dict[str, tuple[tuple[int, ...], str]]:
    kinds = {leaf.column: ((spec.n_streams, *leaf.shape), leaf.dtype) for leaf in spec.leaves}
    found = {f"successor.{name}": kind for name, kind in kinds.items()}
    return found | {"has_successor": ((spec.n_streams,), "bool")}


def _check(name: str, array: Any, shape: tuple[int, ...], dtype: str) -> None:
    if tuple(array.shape) != shape or array.dtype != np.dtype(dtype):
        raise ValueError(
            f"{name} has shape {tuple(array.shape)!s:.80} and dtype {array.dtype}; "
            f"expected {shape!s:.80} and {dtype}"
        )
