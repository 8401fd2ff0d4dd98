"""A tree of sums: draws in proportion to mass, in time that grows with the logarithm of its size."""

import numpy as np

__all__ = ["SumTree"]


class SumTree:
    """Masses of ``capacity`` leaves, float64, and the sums above them.

    A parent is always the sum of its two children, computed anew, so rounding errors don't add up.

    Args:
        capacity: number of leaves.

    >>> tree = SumTree(4)
    >>> tree.assign(np.array([0, 3]), np.array([1.0, 2.0]))
    >>> tree.total, tree.find(np.array([0.5, 1.5])).tolist()
    (3.0, [0, 3])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._depth = max(capacity - 1, 1).bit_length()
        self._first_leaf = 1 << self._depth
        self._nodes = np.zeros(2 * self._first_leaf)

    @property
    def total(self) -> float:
        """Sum of all masses."""
        return float(self._nodes[1])

    @property
    def leaves(self) -> np.ndarray:
        """All masses: [capacity] float64, a view."""
        return self._nodes[self._first_leaf : self._first_leaf + self.capacity]

    def values(self, leaves: np.ndarray) -> np.ndarray:
        """Return the masses [N] of ``leaves`` [N]."""
        return self._nodes[leaves + self._first_leaf]

    def assign(self, leaves: np.ndarray, masses: np.ndarray) -> None:
        """Set the ``masses`` [N] of ``leaves`` [N]; of equal leaves the last counts."""
        if not len(leaves):
            return
        unique, from_the_end = np.unique(leaves[::-1], return_index=True)
        new = masses[::-1][from_the_end]
        nodes = unique + self._first_leaf
        self._nodes[nodes] = new
        for _ in range(self._depth):
            parents = nodes >> 1
            nodes = parents[np.flatnonzero(np.diff(parents, prepend=-1))]
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def assign_run(self, first: int, masses: np.ndarray) -> None:
        """Set the ``masses`` [N >= 1] of the leaves from ``first`` on; it needs little more memory."""
        nodes = self._nodes
        start = first + self._first_leaf
        stop = start + len(masses)
        nodes[start:stop] = masses
        for _ in range(self._depth):
            start, stop = start >> 1, ((stop - 1) >> 1) + 1
            np.add(
                nodes[2 * start : 2 * stop : 2],
                nodes[2 * start + 1 : 2 * stop : 2],
                out=nodes[start:stop],
            )

    def find(self, targets: np.ndarray) -> np.ndarray:
        """Return the leaves [N] at which the running sum passes ``targets`` [N], each in [0, total).

        A leaf without mass is never returned, whatever the rounding, while there is any with mass.
        """
        nodes = np.ones(len(targets), np.int64)
        remaining = np.array(targets, np.float64)
        for _ in range(self._depth):
            left = nodes * 2
            left_mass = self._nodes[left]
            go_right = (remaining >= left_mass) & (self._nodes[left + 1] > 0.0)
            remaining -= np.where(go_right, left_mass, 0.0)
            nodes = left + go_right
        return nodes - self._first_leaf
