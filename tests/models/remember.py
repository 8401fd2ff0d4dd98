"""A made-up world for models to remember."""

import numpy as np

import trifolium as tri


def remember(model: tri.BaseModel, steps: int = 500, seed: int = 0) -> None:
    """Fill a model's memory with a made-up world, the same for every model."""
    rng = np.random.default_rng(seed)
    shape = model.memory.obs_shape
    for step in range(steps):
        obs = rng.normal(size=shape).astype(np.float32)
        action = int(rng.integers(model.action_space))
        cut = step % 41 == 40
        model.memory.add(
            obs,
            action,
            float(obs.sum()),
            step % 23 == 22,
            truncated=cut,
            next_obs=obs + 1 if cut else None,
        )
