"""trifolium's data classes as pytrees of PyTorch, once this module is imported."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree

from trifolium.replay import Batch, State

__all__: list[str] = []


def _register(kind: type[Any]) -> None:
    static = [field.name for field in fields(kind) if field.metadata.get("static")]
    data = [field.name for field in fields(kind) if field.name not in static]

    def flatten(value: Any) -> tuple[list[Any], Any]:
        constants = tuple((name, getattr(value, name)) for name in static)
        return [_leaf(getattr(value, name)) for name in data], constants

    def flatten_with_keys(value: Any) -> tuple[list[Any], Any]:
        leaves, constants = flatten(value)
        keys = map(_pytree.GetAttrKey, data)
        return list(zip(keys, leaves, strict=True)), constants

    def unflatten(leaves: Any, constants: Any) -> Any:
        return kind(**dict(zip(data, leaves, strict=True)), **dict(constants))

    _pytree.register_pytree_node(
        kind,
        flatten,
        unflatten,
        serialized_type_name=f"{kind.__module__}.{kind.__qualname__}",
        flatten_with_keys_fn=flatten_with_keys,
    )


def _leaf(value: Any) -> Any:
    """Return host indices of a batch as a tensor, so that every leaf is one; all else as it is."""
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


_register(State)
_register(Batch)
