"""A tree of sums: draws in proportion to mass, in time that grows with the logarithm of its size."""

from __future__ import annotations

import numpy as np

from trifolium.replay.host.kernels import FAN_OUT, kernels

__all__ = ["SumTree"]

TOP = 4096  # nodes below which running sums of all take less time than one more level


class SumTree:
    """Masses of ``capacity`` leaves, float64, and the sums above them.

    A node has the sum of sixteen nodes of the level below, computed anew, so rounding errors don't add
    up. The top level has up to TOP nodes: few levels of many nodes suit NumPy, whose calls cost more
    than the elements.

    Args:
        capacity: number of leaves.

    >>> tree = SumTree(4)
    >>> tree.assign(np.array([0, 3]), np.array([1.0, 2.0]))
    >>> tree.total, tree.find(np.array([0.5, 1.5])).tolist()
    (3.0, [0, 3])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        sizes = [capacity]  # of the levels, from the leaves to the top
        while sizes[-1] > TOP:
            blocks = -(-sizes[-1] // FAN_OUT)
            sizes[-1:] = [blocks * FAN_OUT, blocks]
        self._firsts = np.cumsum([0, *sizes[:-1]])
        self._nodes = np.zeros(sum(sizes))
        self._levels = np.split(self._nodes, self._firsts[1:])
        self._below = [level.reshape(-1, FAN_OUT) for level in self._levels[:-1]]
        self._running: np.ndarray | None = None  # sums of the top level

    @property
    def total(self) -> float:
        """Sum of all masses."""
        return self._top_sums().item(-1)

    @property
    def nbytes(self) -> int:
        """Bytes of masses and sums."""
        return self._nodes.nbytes

    @property
    def leaves(self) -> np.ndarray:
        """All masses: [capacity] float64, a view."""
        return self._levels[0][: self.capacity]

    def values(self, leaves: np.ndarray) -> np.ndarray:
        """Return the masses [N] of ``leaves`` [N]."""
        return self._levels[0].take(leaves)

    def assign(self, leaves: np.ndarray, masses: np.ndarray) -> None:
        """Set the ``masses`` [N] of ``leaves`` [N]; of equal leaves the last counts."""
        self._running = None
        compiled = kernels()
        if compiled is not None:
            compiled.assign(self._nodes, self._firsts, leaves, masses)
            return
        self._levels[0][leaves] = masses
        nodes = leaves
        for below, level in zip(self._below, self._levels[1:], strict=True):
            nodes = nodes // FAN_OUT
            level[nodes] = _sums(below.take(nodes, axis=0))

    def assign_run(self, first: int, masses: np.ndarray) -> None:
        """Set the ``masses`` [N >= 1] of the leaves from ``first`` on."""
        self._running = None
        start, stop = first, first + len(masses)
        self._levels[0][start:stop] = masses
        for below, level in zip(self._below, self._levels[1:], strict=True):
            start, stop = start // FAN_OUT, (stop - 1) // FAN_OUT + 1
            level[start:stop] = _sums(below[start:stop])

    def find(self, targets: np.ndarray) -> np.ndarray:
        """Return the leaves [N] at which the running sum passes ``targets`` [N], each in [0, total).

        A leaf without mass is never returned, whatever the rounding, while there is any with mass.
        """
        sums, compiled = self._top_sums(), kernels()
        if compiled is not None:
            found = np.empty(len(targets), np.int64)
            compiled.find(self._nodes, self._firsts, sums, targets, found)
            return found
        remaining = np.minimum(targets, _before(sums[-1:]))
        nodes = sums.searchsorted(remaining, side="right")
        if not self._below:
            return nodes
        passed = np.where(nodes > 0, sums.take(nodes - 1, mode="wrap"), 0.0)
        for below in reversed(self._below):
            remaining = remaining - passed
            sums = np.add.accumulate(below.take(nodes, axis=0), axis=1)
            remaining = np.minimum(remaining, _before(sums[:, -1]))
            child = (sums > remaining[:, None]).argmax(axis=1)
            at = np.arange(0, sums.size, FAN_OUT) + child
            passed = np.where(child > 0, sums.reshape(-1).take(at - 1, mode="wrap"), 0.0)
            nodes = nodes * FAN_OUT + child
        return nodes

    def _top_sums(self) -> np.ndarray:
        """Return the running sums of the top level."""
        if self._running is None:
            compiled, top = kernels(), self._levels[-1]
            if compiled is None:
                self._running = np.add.accumulate(top)
            else:
                self._running = np.empty(len(top))
                compiled.run(top, self._running)
        return self._running


def _before(sums: np.ndarray) -> np.ndarray:
    """Return the largest numbers below ``sums``: targets that some node passes, however rounded."""
    return np.nextafter(sums, -1.0)


def _sums(masses: np.ndarray) -> np.ndarray:
    """Return the sum [N] of each row of ``masses`` [N, 16], in an order that any code can follow."""
    width = FAN_OUT
    while width > 1:
        width //= 2
        masses = masses[:, :width] + masses[:, width:]
    return masses[:, 0]
