"""Join the rows that shards gathered, and make minibatches of them in the backend's arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trifolium.backend import Backend, get_backend
from trifolium.replay import Batch
from trifolium.replay.rules.assemble import Packed, assemble, assembler
from trifolium.replay.schema import BufferSpec

__all__ = ["NativeBatches", "joined"]


class NativeBatches:
    """Batches in the backend's arrays, of rows that were gathered on the host.

    Args:
        backend: of the batches.
        spec: of the memory.
    """

    def __init__(self, backend: Backend, spec: BufferSpec) -> None:
        self._backend, self._host, self._spec = backend, get_backend("numpy"), spec

    def __call__(self, packed: Packed, flatten: bool) -> Batch:
        """Return the batch of ``packed``, without indices."""
        if self._backend is self._host or self._backend.capabilities.views:
            batch = assemble(self._host, self._spec, {}, packed, flatten=flatten)
            return batch if self._backend is self._host else batch.each(self._backend.from_numpy)
        return assembler(self._backend, self._spec, flatten=flatten)({}, packed)


def joined(
    spec: BufferSpec, pieces: Sequence[tuple[Packed, slice]], order: np.ndarray | None = None
) -> Packed:
    """Return the rows of all pieces in new arrays.

    Args:
        spec: of the memory.
        pieces: gathered rows, and which of them are taken.
        order: [N], which row comes first, second and so on; None for the order of the pieces.
    """
    shares = pieces[0][0].next_frames is None
    has_halves = shares and spec.n_frames == 1  # all states, then all next states
    found: dict[str, list[tuple[np.ndarray, ...]]] = {"frames": [], "next_frames": [], "extras": []}
    others: list[tuple[np.ndarray, np.ndarray]] = []
    for packed, part in pieces:
        count = packed.scalars.shape[1]
        for name, parts in found.items():
            arrays = getattr(packed, name) or ()
            halves = has_halves and name == "frames"
            parts.append(tuple([_rows(each, count, halves, part) for each in arrays]))
        others.append((packed.actions[part], packed.scalars[:, part]))
    frames, next_frames, extras = (
        tuple([_whole(same, order) for same in zip(*found[name], strict=True)]) for name in found
    )
    actions, scalars = zip(*others, strict=True)
    numbers = np.concatenate(scalars, axis=1)
    return Packed(
        tuple([_flat(each, has_halves) for each in frames]),
        None if shares else tuple([_flat(each, False) for each in next_frames]),
        _whole(actions, order),
        numbers if order is None else numbers[:, order],
        tuple([_flat(each, False) for each in extras]),
    )


def _rows(array: np.ndarray, count: int, halves: bool, part: slice) -> np.ndarray:
    """Return ``part`` of the rows of an array that has several items of each: [rows, items, ...]."""
    if halves:
        return np.swapaxes(array.reshape(2, count, *array.shape[1:]), 0, 1)[part]
    return array.reshape(count, len(array) // count, *array.shape[1:])[part]


def _whole(arrays: Sequence[np.ndarray], order: np.ndarray | None) -> np.ndarray:
    whole = np.concatenate(arrays)
    return whole if order is None else whole[order]


def _flat(array: np.ndarray, halves: bool) -> np.ndarray:
    """Return an array with the items of all rows along its first axis, as they were."""
    if halves:
        array = np.swapaxes(array, 0, 1)
    return array.reshape(-1, *array.shape[2:])
