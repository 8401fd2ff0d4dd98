"""Prioritized replay in plain Python."""

from collections.abc import Sequence

from trifolium.testing.reference import ReferenceBuffer

__all__ = ["ReferencePriorities"]


class ReferencePriorities:
    """Which rows of a :class:`ReferenceBuffer` have which priority, before alpha."""

    def __init__(self, buffer: ReferenceBuffer, epsilon: float) -> None:
        self.buffer = buffer
        self.epsilon = epsilon
        self.largest = 1.0
        self.raw: dict[int, float] = {}

    def at_draw(self) -> dict[int, float]:
        """Return the priority of every valid row; rows new since the last draw have the largest."""
        valid = [index for index, row in self.buffer.transitions().items() if row.valid]
        self.raw = {index: self.raw.get(index, self.largest) for index in valid}
        return self.raw

    def update(self, indices: Sequence[int], errors: Sequence[float]) -> None:
        """Take new errors for the rows that are still stored."""
        stored = {row.index for rows in self.buffer.streams for row in rows}
        for index, error in zip(indices, errors, strict=True):
            if index in stored:
                self.largest = max(self.largest, abs(error) + self.epsilon)
                if index in self.raw:
                    self.raw[index] = abs(error) + self.epsilon
