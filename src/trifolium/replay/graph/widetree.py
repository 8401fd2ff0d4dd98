"""A tree of sums in one array, for compiled code; the host has :mod:`trifolium.replay.host.sumtree`.

Each node has eight children instead of two: a graph pays for operations more than for elements, and a
million leaves are seven levels instead of twenty. Masses are float32, as JAX has nothing wider by
itself: a sum is right to some parts in ten million, and a leaf whose mass is near the mean of a million
is drawn with its probability to about one part in ten thousand.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from trifolium.backend import AnyArray, Backend, device_of
from trifolium.replay.rules.ordinals import BITS, running_sum

__all__ = ["assign", "find", "grown", "levels", "locate", "size", "total"]

FAN_OUT = 8


def levels(capacity: int) -> list[tuple[int, int]]:
    """Return (first node, nodes) of each level for ``capacity`` leaves, from the leaves to the top.

    The first level has at least one leaf to spare, which no mass is ever given to.

    >>> levels(100)
    [(0, 104), (104, 16), (120, 8)]
    """
    found = [(0, _padded(capacity + 1))]
    while found[-1][1] > FAN_OUT:
        first, nodes = found[-1]
        found.append((first + nodes, _padded(nodes // FAN_OUT)))
    return found


def size(capacity: int) -> int:
    """Return how many nodes there are over ``capacity`` leaves."""
    first, nodes = levels(capacity)[-1]
    return first + nodes


def grown(xp: Any, leaves: AnyArray) -> AnyArray:
    """Return the tree over the masses ``leaves`` [capacity], in their dtype.

    >>> import numpy as np
    >>> total(np, grown(np, np.ones(100, np.float32)))
    np.float32(100.0)
    """
    found, level = [], leaves
    for _, nodes in levels(leaves.shape[0]):
        spare = xp.zeros((nodes - level.shape[0],), dtype=level.dtype, device=device_of(level))
        found.append(xp.concat([level, spare]))
        level = _sums(xp.reshape(found[-1], (-1, FAN_OUT)))
    return xp.concat(found)


def assign(
    backend: Backend, tree: AnyArray, capacity: int, leaves: AnyArray, masses: AnyArray
) -> AnyArray:
    """Return the tree with the ``masses`` [N] of ``leaves`` [N]; what was given is used up.

    Of masses for the same leaf any one counts.
    """
    tree = backend.put(tree, leaves, masses)
    places = levels(capacity)
    nodes = leaves
    for (first, _), (above, _) in pairwise(places):
        nodes = nodes // FAN_OUT
        sums = _sums(_children(backend, tree, first, nodes))
        tree = backend.put(tree, nodes + above, sums)
    return tree


def total(xp: Any, tree: AnyArray) -> AnyArray:
    """Return the sum of all masses."""
    return xp.sum(tree[-FAN_OUT:], dtype=tree.dtype)


def find(backend: Backend, tree: AnyArray, capacity: int, bits: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Draw leaves in proportion to mass: (leaves [B], their masses [B]).

    The total is cut into B equal segments, and one leaf drawn from each (Schaul et al. 2016,
    Algorithm 1). The first word of ``bits`` [B, 2] leads halfway down, the second from there: the 24
    bits that a float32 holds are too few to tell a million leaves apart. A leaf without mass is never
    drawn while there is one with mass; while there is none, what is found has no mass.
    """
    xp = backend.xp
    places = levels(capacity)
    halfway = len(places) // 2
    batch_size = bits.shape[0]
    segment = xp.arange(batch_size, dtype=tree.dtype, device=device_of(tree))
    nodes = xp.zeros((batch_size,), dtype=bits.dtype, device=device_of(tree))
    masses = xp.zeros_like(segment) + total(xp, tree)
    remaining = (segment + _fractions(xp, bits[:, 0], tree.dtype)) / batch_size * masses
    nodes, masses, _ = _descended(backend, tree, places[halfway:], nodes, masses, remaining)
    remaining = _fractions(xp, bits[:, 1], tree.dtype) * masses
    nodes, masses, _ = _descended(backend, tree, places[:halfway], nodes, masses, remaining)
    return nodes, masses


def locate(backend: Backend, tree: AnyArray, capacity: int, ordinals: AnyArray) -> AnyArray:
    """Return the leaves [B] that hold the units numbered ``ordinals`` [B], where masses are integers.

    >>> import numpy as np
    >>> from trifolium import get_backend
    >>> tree = grown(np, np.array([0, 1, 0, 2]))
    >>> locate(get_backend("numpy"), tree, 4, np.array([0, 1, 2])).tolist()
    [1, 3, 3]
    """
    nothing = backend.xp.zeros_like(ordinals)
    nodes, _, _ = _descended(backend, tree, levels(capacity), nothing, nothing, ordinals)
    return nodes


def _descended(
    backend: Backend,
    tree: AnyArray,
    places: Sequence[tuple[int, int]],
    nodes: AnyArray,
    masses: AnyArray,
    remaining: AnyArray,
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Go down the levels at ``places`` from ``nodes`` [B], to where ``remaining`` [B] leads.

    Returns:
        (nodes of the first of the levels, their masses, what remains), each [B].
    """
    for first, _ in reversed(places):
        children = _children(backend, tree, first, nodes)
        child, masses, remaining = _chosen(backend.xp, children, remaining, nodes.dtype)
        nodes = nodes * FAN_OUT + child
    return nodes, masses, remaining


def _chosen(
    xp: Any, masses: AnyArray, targets: AnyArray, dtype: Any
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Choose among ``masses`` [B, 8] where the running sum passes ``targets`` [B].

    Returns:
        (children [B], their masses [B], what is left of the targets [B]).
    """
    sums = running_sum(xp, masses)
    has_mass = masses > 0
    passed = has_mass & (sums > targets[:, None])
    first = xp.argmax(xp.astype(passed, dtype), axis=1)
    numbers = xp.arange(FAN_OUT, dtype=dtype, device=device_of(masses))
    last = xp.max(xp.where(has_mass, numbers, 0), axis=1)
    child = xp.where(xp.any(passed, axis=1), xp.astype(first, dtype), last)  # rounding passes none
    at = xp.arange(masses.shape[0], dtype=dtype, device=device_of(masses)) * FAN_OUT + child
    mass = xp.take(xp.reshape(masses, (-1,)), at, axis=0)
    left = targets - (xp.take(xp.reshape(sums, (-1,)), at, axis=0) - mass)
    return child, mass, xp.maximum(left, xp.zeros_like(left))


def _children(backend: Backend, tree: AnyArray, first: int, nodes: AnyArray) -> AnyArray:
    """Return the masses [N, 8] below ``nodes`` [N], whose level begins at ``first``."""
    xp = backend.xp
    each = xp.arange(FAN_OUT, dtype=nodes.dtype, device=device_of(nodes))
    rows = xp.reshape((nodes * FAN_OUT + first)[:, None] + each[None, :], (-1,))
    return xp.reshape(backend.take(tree, rows), (-1, FAN_OUT))


def _sums(masses: AnyArray) -> AnyArray:
    """Return the sum of each row of ``masses`` [N, 8], rounded alike on the host and in any graph."""
    fours = masses[:, :4] + masses[:, 4:]
    pairs = fours[:, :2] + fours[:, 2:]
    return pairs[:, 0] + pairs[:, 1]


def _fractions(xp: Any, words: AnyArray, dtype: Any) -> AnyArray:
    """Return ``words`` as fractions below 1, of 24 bits, which is what float32 holds."""
    return xp.astype((words & ((1 << BITS) - 1)) >> (BITS - 24), dtype) * 2.0**-24


def _padded(nodes: int) -> int:
    return -(-nodes // FAN_OUT) * FAN_OUT
