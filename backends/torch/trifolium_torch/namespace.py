"""The array namespace of the torch backend: array-api-compat's, with fast paths.

array-api-compat computes the result's dtype in Python with each call. The functions here leave it out
where both arrays have the same dtype.
"""

import builtins
from typing import Any

import torch
from array_api_compat import torch as compat
from array_api_compat.torch import *  # noqa: F403

__all__: list[str] = []


def matmul(x1: Any, x2: Any, /) -> torch.Tensor:
    """Return the matrix product."""
    return torch.matmul(x1, x2) if x1.dtype == x2.dtype else compat.matmul(x1, x2)


def maximum(x1: Any, x2: Any, /) -> torch.Tensor:
    """Return the larger of both; where ``x1`` is not larger than 0.0 it gets no gradient."""
    if isinstance(x2, builtins.float) and x2 == 0.0:
        return torch.relu(x1)
    return compat.maximum(x1, x2)


def take_along_axis(x: torch.Tensor, indices: torch.Tensor, /, *, axis: int = -1) -> torch.Tensor:
    """Return ``x`` at ``indices`` along an axis; torch itself takes 64-bit indices alone."""
    return torch.take_along_dim(x, indices.long(), axis)


def unstack(x: torch.Tensor, /, *, axis: int = 0) -> tuple[torch.Tensor, ...]:
    """Return the arrays that ``x`` stacks along ``axis``, as views."""
    return torch.unbind(x, axis)
