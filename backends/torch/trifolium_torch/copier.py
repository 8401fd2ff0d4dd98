"""Copies batches to a GPU from page-locked memory, on a stream of their own."""

from typing import NamedTuple

import numpy as np
import torch

from trifolium.replay import Batch

__all__ = ["Copier"]


class Started(NamedTuple):
    """A batch that is being copied, and the event after its copy."""

    batch: Batch
    copied: torch.cuda.Event


class Copier:
    """Copies batches while the GPU computes something else.

    The caching allocators of PyTorch keep the page-locked memory until the copy is done, and the memory
    on the device until the stream that uses the batch has.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def start(self, batch: Batch) -> Started:
        """Begin to copy a batch of NumPy arrays, and return at once."""
        with torch.cuda.stream(self._stream):
            moved = batch.each(self._moved)
        return Started(moved, self._stream.record_event())

    def finish(self, started: Started) -> Batch:
        """Return the batch; what the current stream does with it waits for the copy."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(started.copied)

        def kept(tensor: torch.Tensor) -> torch.Tensor:
            tensor.record_stream(current)
            return tensor

        return started.batch.each(kept)

    def _moved(self, array: np.ndarray) -> torch.Tensor:
        pinned = torch.from_numpy(np.ascontiguousarray(array)).pin_memory()
        return pinned.to(self._device, non_blocking=True)
