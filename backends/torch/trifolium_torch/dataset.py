"""Minibatches as a dataset of PyTorch."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

__all__ = ["BatchDataset"]


class BatchDataset(IterableDataset[Any]):
    """Minibatches of a buffer, for ``torch.utils.data.DataLoader(dataset, batch_size=None)``.

    :meth:`trifolium.Buffer.as_dataset` makes one. Each item is a whole batch, already drawn, so the
    loader's own ``batch_size`` is None.

    Args:
        batches: what is iterated over, again for each epoch.

    Raises:
        RuntimeError: in a worker process, when it is asked for a batch. A worker has a copy of the
            buffer as it was when the worker began, and the same generator as all others.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is not None:
            raise RuntimeError(
                f"num_workers={worker.num_workers}: each worker would draw the same batches, from a "
                "copy of the buffer in which nothing new arrives; expected num_workers=0"
            )
        return iter(self.batches)
