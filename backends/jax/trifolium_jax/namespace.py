"""The array namespace of the JAX backend: ``jax.numpy``, with the gradient that layers need."""

import builtins
from typing import Any

import jax.numpy as jnp
from jax.numpy import *  # noqa: F403
from jax.numpy import __array_api_version__, __array_namespace_info__  # noqa: F401

__all__: list[str] = []


def maximum(x1: Any, x2: Any, /) -> Any:  # type: ignore[no-redef]
    """Return the larger of both; where ``x1`` is not larger than a number ``x2`` it gets no gradient.

    XLA turns ``x * (x > 0)`` into 0 at NaN, and the gradient of ``jax.numpy.maximum`` likewise.
    """
    if isinstance(x2, builtins.float | builtins.int):
        return jnp.where(x1 <= x2, x2, x1)
    return jnp.maximum(x1, x2)
