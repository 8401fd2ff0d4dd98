"""Threefry without a loop: keys whose numbers are drawn by one kernel on a processor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

__all__ = ["THREEFRY", "key", "with_data"]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def key(seed: int) -> jax.Array:
    """Return the key of a seed."""
    return jax.random.key(seed, impl=THREEFRY)


def with_data(data: Any) -> jax.Array:
    """Return the key with the data that ``jax.random.key_data`` returned."""
    return jax.random.wrap_key_data(data, impl=THREEFRY)


def _threefry(pair: jax.Array, high: Any, low: Any) -> tuple[Any, Any]:
    """Return Threefry-2x32 with 20 rounds (Salmon et al. 2011) of the counters (high, low).

    JAX's own is a loop on processors, with 16 kernels in each of five turns.
    """
    first, second = pair[0], pair[1]
    keys = (first, second, first ^ second ^ jnp.uint32(_PARITY))
    left, right = high + first, low + second
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            left = left + right
            right = (right << rotation) | (right >> (32 - rotation))
            right = right ^ left
        left = left + keys[(group + 1) % 3]
        right = right + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return left, right


def _counted(pair: jax.Array, shape: Sequence[int]) -> tuple[Any, Any]:
    size = math.prod(shape)
    if size >= 2**32:
        raise ValueError(f"shape={tuple(shape)} has {size} numbers; expected fewer than 2**32")
    counters = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return _threefry(pair, jnp.zeros_like(counters), counters)


def _seed(seed: Any) -> jax.Array:
    number = jnp.asarray(seed)
    low = jax.lax.convert_element_type(number, jnp.uint32)
    wide = number.dtype.itemsize > 4
    high = jax.lax.convert_element_type(number >> 32, jnp.uint32) if wide else jnp.zeros_like(low)
    return jnp.stack([high, low])


def _split(pair: jax.Array, shape: Sequence[int]) -> jax.Array:
    return jnp.stack(_counted(pair, shape), axis=-1)


def _fold_in(pair: jax.Array, data: jax.Array | int) -> jax.Array:
    # counters with a high word of 1: never those of a split
    return jnp.stack(_threefry(pair, jnp.uint32(1), jnp.asarray(data).astype(jnp.uint32)))


def _random_bits(pair: jax.Array, bit_width: int, shape: Sequence[int]) -> jax.Array:
    left, right = _counted(pair, shape)
    if bit_width == 64:
        wide: jax.Array = (left.astype(jnp.uint64) << 32) | right.astype(jnp.uint64)
        return wide
    found: jax.Array = (left ^ right).astype(f"uint{bit_width}")
    return found


THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry without a loop",
    tag="trf",
)
"""The generator, as ``impl=`` of ``jax.random.key``."""
