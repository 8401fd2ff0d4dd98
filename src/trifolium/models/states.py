"""States that models are given, checked and converted to float32 on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, as_numpy
from trifolium.replay.batch import map_tree
from trifolium.replay.rules.steps import check_keys, part_at
from trifolium.replay.schema import BufferSpec, Leaf, nested

__all__ = [
    "any_array",
    "each_row",
    "flat_leaf",
    "flat_state",
    "flat_states",
    "one_row",
    "part_of",
    "state_size",
]

OPTION = "input_size"


def state_size(spec: BufferSpec) -> int:
    """Return the elements of one state; of structured observations those of all parts."""
    return sum(_size(leaf) for leaf in spec.leaves)


def flat_state(spec: BufferSpec, state: Any) -> Any:
    """Return a structured ``state`` on the host as a mapping of arrays [size] float32.

    Raises:
        ValueError, TypeError: an array is neither flat nor [n_frames, *shape], leading axes of length 1
            aside, or a part is missing; the message names it.
    """
    found = [flat_leaf(leaf, part_at("state", state, leaf.path, OPTION)) for leaf in spec.leaves]
    check_keys("state", state, [leaf.path for leaf in spec.leaves], OPTION)
    return nested(spec.leaves, found)


def flat_states(spec: BufferSpec, states: Any) -> Any:
    """Return ``states`` [N, ...] on the host as [N, size] float32, or as a mapping of such arrays.

    Raises:
        ValueError, TypeError: as :func:`flat_state`, or parts have different numbers of states.
    """
    if not spec.is_structured:
        return _flat_rows(spec.leaves[0], states)
    found = [_flat_rows(leaf, part_at("states", states, leaf.path, OPTION)) for leaf in spec.leaves]
    check_keys("states", states, [leaf.path for leaf in spec.leaves], OPTION)
    for leaf, array in zip(spec.leaves, found, strict=True):
        if len(array) != len(found[0]):
            raise ValueError(
                f"{leaf.named('states')} has {len(array)} states; expected {len(found[0])}, as "
                f"{spec.leaves[0].named('states')} has"
            )
    return nested(spec.leaves, found)


def flat_leaf(leaf: Leaf, value: Any) -> np.ndarray:
    """Return one array of a state on the host as [size] float32."""
    array = as_numpy(value)
    if array.shape not in _shapes_of(leaf.n_frames, leaf.shape) and not _fits(leaf, array.shape):
        raise ValueError(f"{leaf.named('state')} has shape {array.shape}; expected {_expected(leaf)}")
    return array.reshape(-1).astype(np.float32, copy=False)


def one_row(flat: Any) -> Any:
    """Return what :func:`flat_state` returned with an axis of one state before it."""
    if isinstance(flat, np.ndarray):
        return flat[None, :]
    return map_tree(lambda array: array[None, :], flat)


def each_row(states: Any) -> Iterator[Any]:
    """Yield each of ``states`` [N, ...]: an array, or a mapping or tuple of arrays."""
    if not isinstance(states, Mapping | tuple):
        yield from states
        return
    parts = states.values() if isinstance(states, Mapping) else states
    rows = zip(*map(each_row, parts), strict=True)
    for row in rows:
        yield dict(zip(states, row, strict=True)) if isinstance(states, Mapping) else row


def any_array(states: Any) -> AnyArray:
    """Return checked ``states``, or the first array in a mapping of them."""
    while isinstance(states, dict):
        states = next(iter(states.values()))
    return states


def part_of(states: Any, path: tuple[str, ...]) -> AnyArray:
    """Return the array at ``path`` of checked ``states``."""
    for key in path:
        states = states[key]
    return states


def _flat_rows(leaf: Leaf, value: Any) -> np.ndarray:
    array = as_numpy(value)
    if array.ndim == 0 or not _fits(leaf, array.shape[1:]):
        raise ValueError(
            f"{leaf.named('states')} have shape {array.shape}; expected N times {_expected(leaf)}"
        )
    return array.reshape(len(array), _size(leaf)).astype(np.float32, copy=False)


def _size(leaf: Leaf) -> int:
    return leaf.n_frames * math.prod(leaf.shape)


def _fits(leaf: Leaf, shape: tuple[int, ...]) -> bool:
    shapes = _shapes_of(leaf.n_frames, leaf.shape)
    while shape not in shapes:
        if shape[:1] != (1,):
            return False
        shape = shape[1:]
    return True


@cache
def _shapes_of(n_frames: int, shape: tuple[int, ...]) -> frozenset[tuple[int, ...]]:
    size = math.prod(shape)
    shapes = {(n_frames * size,), (n_frames, size), (n_frames, *shape)}
    if n_frames == 1:
        shapes |= {shape} | ({()} if size == 1 else set())
    return frozenset(shapes)


def _expected(leaf: Leaf) -> str:
    shape, frames = leaf.shape, leaf.n_frames
    axes = {2: " [height, width]", 3: " [height, width, channels]"}.get(len(shape), "")
    stacked = f"n_frames={frames} observations {(frames, *shape)} of " if frames > 1 else ""
    return f"{_size(leaf)} elements: {stacked}shape {shape}{axes}, or flat"
