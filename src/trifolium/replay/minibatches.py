"""A buffer's minibatches, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from trifolium.replay.batch import Batch

if TYPE_CHECKING:
    from trifolium.replay.buffer import Buffer

__all__ = ["Minibatches"]


@dataclass(frozen=True)
class Minibatches:
    """The iterable that :meth:`trifolium.Buffer.as_dataset` returns.

    Attributes:
        buffer: the buffer to draw from, in its state at each draw.
        batch_size: rows of a batch.
        n_batches: batches of one iteration; None for no end.
        flatten: as for :meth:`trifolium.Buffer.sample`.
        process: id of the process that made it. Only that process may iterate.
    """

    buffer: Buffer
    batch_size: int
    n_batches: int | None = None
    flatten: bool = True
    process: int = field(default_factory=os.getpid)

    def __iter__(self) -> Iterator[Batch]:
        if os.getpid() != self.process:
            raise RuntimeError(
                "a worker process iterates over batches of a buffer: each worker would draw the same "
                "batches, from a copy of the buffer that receives no new rows; expected num_workers=0"
            )
        for _ in count() if self.n_batches is None else range(self.n_batches):
            yield self.buffer.sample(self.batch_size, flatten=self.flatten)
