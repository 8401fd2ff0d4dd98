"""Buffers with each option, and random steps to fill them."""

from typing import Any

import numpy as np

from trifolium.backend import Backend
from trifolium.replay import Batch, Buffer, Prioritized

__all__ = ["FIELDS", "OPTIONS", "fill", "made", "on_host"]

FIELDS = ("states", "actions", "rewards", "next_states", "dones", "valid", "discounts", "weights")

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacked": {"n_frames": 3},
    "padded": {"n_frames": 3, "boundary": "pad"},
    "image": {"obs_shape": (2, 3, 2), "obs_dtype": "uint8", "n_frames": 2},
    "n-step": {"n_step": 3, "gamma": 0.5},
    "streams": {"n_streams": 4},
    "action vector": {"action_shape": (3,), "action_dtype": "float32"},
    "extras": {"extras": {"tag": "int32", "place": ((2,), "float32"), "seen": "bool"}},
    "prioritized": {"sampler": Prioritized},
    "all": {
        "obs_shape": (2, 3, 2),
        "obs_dtype": "uint8",
        "n_frames": 2,
        "boundary": "pad",
        "n_step": 3,
        "n_streams": 4,
        "action_shape": (3,),
        "action_dtype": "float32",
        "extras": {"place": ((2,), "float32")},
        "sampler": Prioritized,
    },
}


def made(backend: Backend, options: dict[str, Any]) -> Buffer:
    """Return a small buffer with some of :data:`OPTIONS`."""
    chosen = {"capacity": 32, "obs_shape": (2,), "seed": 0, **options}
    if "sampler" in chosen:
        chosen["sampler"] = chosen["sampler"]()  # a sampler belongs to one buffer
    return Buffer(**chosen, backend=backend)


def fill(buffer: Buffer, steps: int, seed: int) -> None:
    """Add made-up steps, the same for every buffer with the same options; episodes end in all ways."""
    rng = np.random.default_rng(seed)
    spec = buffer.spec
    streams = (spec.n_streams,) if spec.n_streams > 1 else ()

    def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return rng.integers(0, 2 if dtype == "bool" else 256, (*streams, *shape)).astype(dtype)

    for _ in range(steps):
        extras: Any = {name: values(shape, dtype) for name, shape, dtype in spec.extras}
        obs, next_obs = values(spec.obs_shape, spec.obs_dtype), values(spec.obs_shape, spec.obs_dtype)
        end = rng.integers(12)
        buffer.add(
            obs,
            values(spec.action_shape, spec.action_dtype),
            values((), "float32"),
            np.full(streams, end == 0),
            truncated=np.full(streams, end in (1, 2)),
            next_obs=next_obs if end == 1 else None,
            **extras,
        )
        if end == 3:
            buffer.add_empty()


def on_host(backend: Backend, batch: Batch) -> list[np.ndarray]:
    """Return every array of a batch, the indices first."""
    arrays = [getattr(batch, name) for name in FIELDS]
    arrays += [batch.extras[name] for name in sorted(batch.extras)]
    return [batch.indices, *map(backend.to_numpy, arrays)]
