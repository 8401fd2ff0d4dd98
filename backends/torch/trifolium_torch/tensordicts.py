"""Batches as ``tensordict.TensorDict``."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from trifolium.backend import AnyArray, as_numpy
from trifolium.replay import Batch
from trifolium.replay.batch import map_tree

__all__ = ["to_tensordict"]


def to_tensordict(batch: Batch) -> TensorDict:
    """Return a batch as a TensorDict; see :meth:`trifolium.Batch.to_tensordict`."""
    named: dict[str, Any] = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return TensorDict(
        {name: map_tree(_tensor, value) for name, value in named.items()}, batch_size=[batch.batch_size]
    )


def _tensor(array: AnyArray) -> torch.Tensor:
    return array if isinstance(array, torch.Tensor) else torch.from_numpy(np.array(as_numpy(array)))
