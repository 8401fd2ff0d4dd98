"""Kernels: inner loops of draws, windows and priorities, compiled by numba where users ask for it.

Each does what NumPy's operations beside its call do, with the same bits. They are compiled when
:func:`use_kernels` is called, and kept on the disk by numba for later processes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from trifolium.replay.rules.marks import FIRST, LOST, NO_TRANSITION, TERMINATED, UNKNOWN

__all__ = ["FAN_OUT", "Kernels", "kernels", "use_kernels"]

FAN_OUT = 16  # of the tree of priorities
_INVALID = NO_TRANSITION | UNKNOWN


class Kernels(NamedTuple):
    """The compiled functions of this module; what they do is said below."""

    first_ones: Callable[..., int]
    plan: Callable[..., bool]
    run: Callable[..., None]
    find: Callable[..., None]
    assign: Callable[..., None]


def use_kernels(use: bool = True) -> bool:
    """Draw and gather with compiled kernels from now on, in all buffers; return whether it is so.

    Minibatches are the same, bit for bit. It needs the extra ``trifolium[fast]``; without that nothing
    changes. The first call on a machine compiles for some seconds; later processes load what numba
    keeps beside the module, or in ``NUMBA_CACHE_DIR``. With ``TRIFOLIUM_FAST=1`` in the environment the
    first buffer of a process calls it.

    Args:
        use: False returns to NumPy alone.

    >>> use_kernels(False)
    False
    """
    global _active, _is_asked  # noqa: PLW0603 (it is a choice of the process)
    _is_asked, _active = True, None
    if use:
        with suppress(ImportError):
            _active = _compiled(importlib.import_module("numba"))
    return _active is not None


def kernels() -> Kernels | None:
    """Return the compiled functions; None where they are not used."""
    return _active


def start() -> None:
    """Use kernels if the environment asks for them."""
    if not _is_asked and os.environ.get("TRIFOLIUM_FAST") == "1":
        use_kernels()


_active: Kernels | None = None
_is_asked = False


@cache
def _compiled(numba: Any) -> Kernels:
    """Return the functions, compiled once in a process."""
    i, f, pair = numba.int64, numba.float64, numba.types.UniTuple
    ints, floats = i[::1], f[::1]
    found = numba.types.Tuple((ints, numba.boolean[::1], numba.float32[:, ::1]))
    stored = numba.types.Tuple((numba.uint8[::1], numba.float32[::1]))
    signatures: dict[Callable[..., Any], Any] = {
        _first_ones: i(numba.uint64[::1], i, ints),
        _plan: numba.boolean(pair(ints, 2), pair(ints, 2), stored, pair(i, 3), f, found),
        _run: numba.void(floats, floats),
        _find: numba.void(floats, ints, floats, floats, ints),
        _assign: numba.void(floats, ints, ints, floats),
    }
    made = []
    for function, signature in signatures.items():
        try:
            made.append(numba.njit(signature, cache=True)(function))
        except RuntimeError:  # no folder can be written to
            made.append(numba.njit(signature)(function))
    return Kernels(*made)


def _first_ones(words: Any, below: int, found: Any) -> int:
    """Write the first different numbers of ``words`` modulo ``below`` to ``found``; return how many."""
    size = 4
    while size < 3 * len(words):
        size *= 2
    table = np.full(size, -1)
    count = 0
    for word in words:
        number = np.int64(word % np.uint64(below))
        place = (number ^ (number >> 16)) & (size - 1)
        while table[place] not in (-1, number):
            place = (place + 1) & (size - 1)
        if table[place] == -1 and count < len(found):
            table[place] = number
            found[count] = number
            count += 1
    return count


def _plan(places: Any, cursors: Any, stored: Any, shape: Any, discount: float, found: Any) -> bool:
    """Write the plan of a draw with n_step=1; return whether all frames are of a row's own episode.

    ``shape`` is (length, n_frames, whether boundary is "pad"); ``found`` is written to: rows and
    kept [N * (F + 1)], numbers [5, N], as in :class:`trifolium.replay.rules.assemble.Plan`.
    """
    (streams, serials), (written, sizes), (marks, rewards) = places, cursors, stored
    (length, n_frames, pad), (rows, kept, numbers) = shape, found
    count, all_kept = len(serials), True
    each, step = (1, count) if n_frames == 1 else (n_frames + 1, 1)
    for at in range(count):
        start, serial = streams[at] * length, serials[at]
        newer = written[streams[at]] - 1 - serial
        older = sizes[streams[at]] - 1 - newer
        place, newest = serial % length, at * each + n_frames - 1
        row = start + place
        after = row if newer == 0 else row + 1 if place + 1 < length else start
        rows[newest], rows[newest + step] = row, after
        kept[newest] = kept[newest + step] = reaches_back = whole = True
        for back in range(1, n_frames):
            mark = marks[rows[newest - back + 1]]
            reaches_back = reaches_back and (mark & FIRST) == 0
            if reaches_back and ((mark & LOST) != 0 or older < back):
                whole = False
            rows[newest - back] = row - back if back <= place else row - back + length
            kept[newest - back] = reaches_back
        all_kept = all_kept and reaches_back
        numbers[0, at] = rewards[row]
        numbers[1, at] = (marks[row] & TERMINATED) != 0
        numbers[2, at] = whole and (pad or reaches_back) and (marks[row] & _INVALID) == 0
        numbers[3, at], numbers[4, at] = discount, 1.0
    return all_kept


def _run(masses: Any, sums: Any) -> None:
    """Write the running sums of ``masses`` to ``sums``."""
    total = 0.0
    for node in range(len(masses)):
        total += masses[node]
        sums[node] = total


def _find(nodes: Any, firsts: Any, top: Any, targets: Any, found: Any) -> None:
    """Write the leaves where the running sums pass ``targets`` [N] to ``found`` [N]."""
    largest, before, above = np.nextafter(top[-1], -1.0), -1.0, 0
    for at in range(len(targets)):
        remaining = min(targets[at], largest)
        if remaining < before or len(top) > 32 * len(targets):
            above = np.searchsorted(top, remaining, side="right")
        before = remaining
        while top[above] <= remaining:  # a search from the last place, where targets ascend
            above += 1
        node = above
        passed = top[node - 1] if node > 0 else 0.0
        for level in range(len(firsts) - 2, -1, -1):
            remaining -= passed
            first = firsts[level] + node * FAN_OUT
            total = 0.0
            for child in range(FAN_OUT):
                total += nodes[first + child]
            remaining = min(remaining, np.nextafter(total, -1.0))
            passed, child, total = 0.0, 0, nodes[first]
            while total <= remaining:
                passed, child = total, child + 1
                total += nodes[first + child]
            node = node * FAN_OUT + child
        found[at] = node


def _assign(nodes: Any, firsts: Any, leaves: Any, masses: Any) -> None:
    """Set the ``masses`` [N] of ``leaves`` [N], and the sums above them."""
    for at in range(len(leaves)):
        nodes[leaves[at]] = masses[at]
    size = 1
    eight, four = np.empty(8), np.empty(4)
    for level in range(len(firsts) - 1):
        size *= FAN_OUT
        for at in range(len(leaves)):
            parent = leaves[at] // size
            first = firsts[level] + parent * FAN_OUT
            for child in range(8):
                eight[child] = nodes[first + child] + nodes[first + child + 8]
            for child in range(4):
                four[child] = eight[child] + eight[child + 4]
            nodes[firsts[level + 1] + parent] = (four[0] + four[2]) + (four[1] + four[3])
