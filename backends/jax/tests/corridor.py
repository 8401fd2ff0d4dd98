"""A corridor as functions of arrays: what CompiledTraining takes, without gymnax."""

from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp


class Place(NamedTuple):
    at: jax.Array
    steps: jax.Array


class Corridor:
    """Five places in a row; the walker begins in one that is drawn. At the right end there is a reward.

    Action 1 goes right, 0 left. The right end terminates; the left one is a wall. An observation is
    (place, steps taken). After ``params["limit"]`` steps an episode is truncated.
    """

    size = 5
    default_params: ClassVar = {"limit": 12}

    def action_space(self, params: Any) -> Any:
        return SimpleNamespace(n=2)

    def reset(self, key: jax.Array, params: Any) -> tuple[jax.Array, Place]:
        state = Place(jax.random.randint(key, (), 0, self.size - 1), jnp.int32(0))
        return self.seen(state), state

    def step(self, key: jax.Array, state: Place, action: jax.Array, params: Any) -> Any:
        moved = Place(jnp.maximum(state.at + 2 * action - 1, 0), state.steps + 1)
        terminated = moved.at == self.size - 1
        truncated = moved.steps >= params["limit"]
        reset_obs, reset = self.reset(key, params)
        over = terminated | truncated
        after = jax.tree.map(lambda new, old: jnp.where(over, new, old), reset, moved)
        obs = jnp.where(over, reset_obs, self.seen(moved))
        reward = jnp.where(terminated, 1.0, -0.125)
        info = {"final_observation": self.seen(moved)}
        return obs, after, reward, terminated, truncated, info

    def seen(self, state: Place) -> jax.Array:
        return jnp.stack([state.at, state.steps]).astype(jnp.float32)


class OldCorridor(Corridor):
    """As gymnax was before 1.0: what ended an episode is not told."""

    def step(self, key: jax.Array, state: Place, action: jax.Array, params: Any) -> Any:
        obs, state, reward, terminated, truncated, _ = super().step(key, state, action, params)
        return obs, state, reward, terminated | truncated, {}
