"""A buffer's minibatches, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from trifolium.replay.batch import Batch

if TYPE_CHECKING:
    from trifolium.replay.buffer import Buffer

__all__ = ["Minibatches"]


@dataclass(frozen=True)
class Minibatches:
    """What :meth:`trifolium.Buffer.as_dataset` iterates over.

    Attributes:
        buffer: what is drawn from, as it is at each draw.
        batch_size: rows in each.
        n_batches: how many in one iteration; None for no end.
        flatten: as for :meth:`trifolium.Buffer.sample`.
    """

    buffer: Buffer
    batch_size: int
    n_batches: int | None = None
    flatten: bool = True

    def __iter__(self) -> Iterator[Batch]:
        for _ in count() if self.n_batches is None else range(self.n_batches):
            yield self.buffer.sample(self.batch_size, flatten=self.flatten)
