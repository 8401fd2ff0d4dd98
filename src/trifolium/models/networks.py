"""Networks as pure functions of (namespace, parameters, input), in the array API."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from trifolium.backend import Array, Params

__all__ = ["init_mlp", "mlp"]


def init_mlp(rng: np.random.Generator, sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Draw the parameters of a network with layers of ``sizes``, the input first.

    Layer i has ``<i>.weight`` [in, out] and ``<i>.bias`` [out], both uniform between
    -1 / sqrt(in) and 1 / sqrt(in), float32.

    >>> params = init_mlp(np.random.default_rng(0), [4, 8, 2])
    >>> {name: value.shape for name, value in params.items()}
    {'0.weight': (4, 8), '0.bias': (8,), '1.weight': (8, 2), '1.bias': (2,)}
    """
    params = {}
    for layer, (size_in, size_out) in enumerate(pairwise(sizes)):
        bound = size_in**-0.5
        params[f"{layer}.weight"] = rng.uniform(-bound, bound, (size_in, size_out))
        params[f"{layer}.bias"] = rng.uniform(-bound, bound, size_out)
    return {name: value.astype(np.float32) for name, value in params.items()}


def mlp(xp: Any, params: Params, inputs: Array) -> Array:
    """Return the outputs [B, out] for ``inputs`` [B, in]: rectified layers, the last one linear."""
    hidden = inputs
    last = len(params) // 2 - 1
    for layer in range(last + 1):
        hidden = xp.matmul(hidden, params[f"{layer}.weight"]) + params[f"{layer}.bias"]
        if layer < last:
            hidden = xp.maximum(hidden, xp.zeros_like(hidden))
    return hidden
