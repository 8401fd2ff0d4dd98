"""The generator of compiled training, and the draws of its blocks."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from trifolium_jax import threefry
from trifolium_jax.draws import Drawing


def test_bits_are_those_of_threefry() -> None:
    """The same function as JAX's, of the counters 0 and up."""
    key = threefry.key(7)
    pair = jax.random.key_data(key)
    counters = jnp.concatenate([jnp.zeros(5, jnp.uint32), jnp.arange(5, dtype=jnp.uint32)])
    expected = threefry_2x32(pair, counters).reshape(2, 5)
    np.testing.assert_array_equal(jax.random.bits(key, (5,)), expected[0] ^ expected[1])
    children = jax.random.key_data(jax.random.split(key, 5))
    np.testing.assert_array_equal(children, expected.T)


def test_keys_differ_by_seed_and_by_what_is_folded_in() -> None:
    keys = [threefry.key(0), threefry.key(1), *jax.random.split(threefry.key(0), 3)]
    keys += [jax.random.fold_in(threefry.key(0), number) for number in range(3)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)


def test_numbers_are_uniform_and_independent() -> None:
    """Of many keys at once, as environments side by side have them."""
    keys = jax.random.split(threefry.key(3), 2000)
    numbers = np.asarray(jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys))
    assert abs(numbers.mean(axis=0) - 0.5).max() < 0.03
    assert abs(numbers.std(axis=0) - 12**-0.5).max() < 0.02
    assert abs(np.corrcoef(numbers.T)[0, 1]) < 0.08
    assert jax.random.bits(keys[0], (3,), "uint8").dtype == jnp.uint8


def drawing(**options: Any) -> Drawing:
    algorithm: Any = SimpleNamespace(evaluations=2, draw=lambda rng, size: ())
    sizes: dict[str, Any] = {"width": 3, "turns": 2, "updates": 2, "batch_size": 4, "noise_size": 5}
    return Drawing(algorithm=algorithm, **sizes | options)


@pytest.mark.slow
def test_draws_of_a_block_depend_on_its_number_alone() -> None:
    key, draws = threefry.key(1), drawing()
    several = jax.vmap(draws.block, (None, 0))(key, jnp.arange(4))
    alone = draws.block(key, jnp.int32(2))
    for together, one in zip(jax.tree.leaves(several), jax.tree.leaves(alone), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            together, one = map(jax.random.key_data, (together, one))
        np.testing.assert_array_equal(together[2], one)
        assert not np.array_equal(together[1], one)


def test_blocks_drawn_at_once_divide_those_of_the_run() -> None:
    draws = drawing()
    assert draws.blocks_at_once(2_000, 1) == 50
    assert draws.blocks_at_once(67, 1) == 1
    assert drawing(batch_size=1 << 15).blocks_at_once(64, 16) == 1
