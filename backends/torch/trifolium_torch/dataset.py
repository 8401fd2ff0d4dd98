"""Makes a DataLoader of torch accept the iterable of :meth:`trifolium.Buffer.as_dataset`."""

from torch.utils.data import IterableDataset

from trifolium.replay.buffer import Minibatches

__all__: list[str] = []

IterableDataset.register(Minibatches)
