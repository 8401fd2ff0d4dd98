"""A made-up world for models to remember."""

import numpy as np

import trifolium as tri
from trifolium.replay.batch import map_tree
from trifolium.replay.schema import nested


def observed(spec, rng):
    """Return an observation: normal numbers, bytes, and for other dtypes a mask with a legal action."""

    def array(leaf):
        if leaf.dtype.startswith("float"):
            return rng.normal(size=leaf.shape).astype(leaf.dtype)
        if leaf.dtype == "uint8":
            return rng.integers(256, size=leaf.shape).astype("uint8")
        legal = rng.random(leaf.shape) < 0.5
        legal[rng.integers(len(legal))] = True
        return legal.astype(leaf.dtype)

    return nested(spec.leaves, [array(leaf) for leaf in spec.leaves])


def total(obs):
    return sum(map(total, obs.values())) if isinstance(obs, dict) else float(obs.sum())


def remember(model: tri.BaseModel, steps: int = 500, seed: int = 0) -> None:
    """Fill a model's memory with a made-up world, the same for every model.

    Where observations are structured, terminated episodes end in one that is all zero, so that no
    action is legal there, and rewards are at most 1.
    """
    rng = np.random.default_rng(seed)
    spec = model.memory.spec
    for step in range(steps):
        obs = observed(spec, rng)
        action = int(rng.integers(model.action_space))
        done, cut = step % 23 == 22, step % 41 == 40
        following = map_tree(lambda array: (array + 1).astype(array.dtype), obs) if cut else None
        reward = total(obs)
        if spec.is_structured:
            reward = float(np.tanh(reward))
            following = map_tree(np.zeros_like, obs) if done else following
        model.memory.add(obs, action, reward, done, truncated=cut, next_obs=following)
