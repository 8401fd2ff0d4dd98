"""The random numbers of a training run in a graph, drawn for many blocks at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trifolium.models import layers
from trifolium.models.algorithm import Algorithm, Randomness
from trifolium_jax import threefry

__all__ = ["BlockDraws", "Drawing", "TurnDraws", "UpdateDraws"]

MOST_BLOCKS = 64
MOST_BYTES = 1 << 24  # of the draws of one model


class TurnDraws(NamedTuple):
    """The draws of one step in each of N environments.

    Attributes:
        explores: [N] float32 in [0, 1); below epsilon the action is random.
        which: [N] float32 in [0, 1), which random action.
        keys: [N] keys, of the environments' own draws.
        noise: [size], of noisy layers; None without them.
    """

    explores: jax.Array
    which: jax.Array
    keys: jax.Array
    noise: jax.Array | None


class UpdateDraws(NamedTuple):
    """The draws of one update: bits [batch_size, 2], and those of the algorithm."""

    bits: jax.Array
    random: Randomness


class BlockDraws(NamedTuple):
    """The draws of a block, with a leading axis of its turns, and of its updates."""

    turns: TurnDraws
    updates: UpdateDraws


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Draws for the blocks of a run: each block's depend on its number alone.

    A call takes as many kernels for one block as for many, so each draws for many.

    Attributes:
        width: environments, N.
        turns: steps of each environment in a block.
        updates: in a block.
        batch_size: rows of an update.
        algorithm: draws for its updates.
        noise_size: of one evaluation of a noisy network; 0 without noisy layers.
    """

    width: int
    turns: int
    updates: int
    batch_size: int
    algorithm: Algorithm
    noise_size: int

    def blocks_at_once(self, blocks: int, models: int) -> int:
        """Return for how many of ``blocks`` to draw at once: a divisor of it."""
        shapes = jax.eval_shape(self.block, threefry.key(0), jnp.int32(0))
        size = models * sum(each.size * 4 for each in jax.tree.leaves(shapes))
        most = min(MOST_BLOCKS, max(1, MOST_BYTES // size))
        return max(each for each in range(1, most + 1) if blocks % each == 0)

    def block(self, key: jax.Array, number: jax.Array) -> BlockDraws:
        """Return the draws of the block with that number."""
        acting, learning = jax.random.split(jax.random.fold_in(key, number))
        return BlockDraws(
            jax.vmap(self._turn)(jax.random.split(acting, self.turns)),
            jax.vmap(self._update)(jax.random.split(learning, self.updates)),
        )

    def _turn(self, key: jax.Array) -> TurnDraws:
        act, env = jax.random.split(key)
        draws = _Random(act)
        noise = self._noise(draws, ())
        explores, which = draws.random((2, self.width), np.float32)
        return TurnDraws(explores, which, jax.random.split(env, self.width), noise)

    def _update(self, key: jax.Array) -> UpdateDraws:
        draws = _Random(key)
        bits = draws.bits((self.batch_size, 2))
        noise = self._noise(draws, (self.algorithm.evaluations,))
        return UpdateDraws(bits, Randomness(noise, self.algorithm.draw(draws, self.batch_size)))

    def _noise(self, draws: _Random, lead: tuple[int, ...]) -> jax.Array | None:
        size = self.noise_size
        return layers.draw_noise(draws, (*lead, size), jnp) if size else None


class _Random:
    """A generator that draws from a key, with the methods of NumPy's that algorithms use."""

    def __init__(self, key: jax.Array) -> None:
        self._key = key

    def random(self, size: Any, dtype: Any) -> jax.Array:
        return jax.random.uniform(self._next(), size, dtype)

    def standard_normal(self, size: Any, dtype: Any) -> jax.Array:
        return jax.random.normal(self._next(), size, dtype)

    def bits(self, size: tuple[int, ...]) -> jax.Array:
        return jax.random.bits(self._next(), size)

    def _next(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)
        return key
