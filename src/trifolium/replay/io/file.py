"""Files of buffers: conversion to manifests and arrays, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from trifolium.backend import Backend
from trifolium.errors import BackendError, CheckpointError
from trifolium.replay.host.prioritized import Prioritized
from trifolium.replay.host.samplers import Sampler, Uniform
from trifolium.replay.host.store import Store
from trifolium.replay.schema import BufferSpec, supported
from trifolium.saved_options import required

__all__ = [
    "arrays_of",
    "below",
    "buffer_options",
    "generator_state",
    "manifest_of",
    "restore",
    "restore_generator",
    "sound",
]

# what unsound values lead to, sizes that can't be allocated included
_UNSOUND = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)
_OWN_SAMPLERS: dict[str, type[Sampler]] = {"Uniform": Uniform, "Prioritized": Prioritized}


def manifest_of(
    spec: BufferSpec, backend: Backend, sampler: Sampler, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the manifest of a buffer's file: everything but its arrays."""
    return {
        "spec": spec.options(),
        "backend": backend.name,
        "generator": generator_state(rng),
        "sampler": type(sampler).__name__,
        "sampler_options": getattr(sampler, "options", {}),
    }


def arrays_of(store: Store, sampler: Sampler) -> dict[str, np.ndarray]:
    """Return the arrays of a buffer's file; only the rows that are stored take space."""
    arrays = {f"sampler.{name}": array for name, array in sampler.state().items()}
    return arrays | {f"rows.{name}": array for name, array in store.state().items()}


def restore(
    store: Store,
    sampler: Sampler,
    rng: np.random.Generator,
    manifest: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
) -> None:
    """Fill an empty store, a new sampler and a generator from the contents of a file."""
    store.restore(below("rows.", arrays))
    sampler.restore(store, below("sampler.", arrays))
    restore_generator(rng, manifest["generator"])


@contextmanager
def sound(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn the errors that unsound values lead to into a CheckpointError that names ``path``."""
    try:
        yield
    except (BackendError, CheckpointError):
        raise
    except _UNSOUND as error:
        raise CheckpointError(f"{path} does not hold a sound {what}: {error!r}") from error


def buffer_options(
    manifest: Mapping[str, Any], backend: Backend, sampler: Sampler | None = None
) -> dict[str, Any]:
    """Return the arguments of Buffer that ``manifest`` describes.

    Args:
        manifest: what :func:`manifest_of` returned.
        backend: the backend that the buffer is for.
        sampler: replaces the one in the manifest.
    """
    if sampler is None:
        name = manifest["sampler"]
        if name not in _OWN_SAMPLERS:
            raise ValueError(f"it was saved with the custom sampler {name}; give sampler= again")
        kind = _OWN_SAMPLERS[name]
        sampler = kind(**required("the file", manifest["sampler_options"]))
    options = dict(manifest["spec"])
    if not isinstance(options["extras"], Mapping):  # as files before version 0.2 have them
        options["extras"] = {name: (shape, dtype) for name, shape, dtype in options["extras"]}
    return options | {
        "action_dtype": supported(backend, options["action_dtype"]),
        "sampler": sampler,
    }


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a Philox generator in JSON's types."""
    state: Any = rng.bit_generator.state
    return {
        **state,
        "state": {name: value.tolist() for name, value in state["state"].items()},
        "buffer": state["buffer"].tolist(),
    }


def restore_generator(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Set the state of a Philox generator to what :func:`generator_state` returned."""
    if state["buffer_pos"] not in range(len(rng.bit_generator.state["buffer"]) + 1):
        raise ValueError(f"buffer_pos={state['buffer_pos']!r}")  # NumPy would read past its memory
    rng.bit_generator.state = {
        **state,
        "state": {k: np.array(v, np.uint64) for k, v in state["state"].items()},
        "buffer": np.array(state["buffer"], np.uint64),
    }


def below(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
    }
