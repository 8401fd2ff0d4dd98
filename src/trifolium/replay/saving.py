"""Buffers in files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from trifolium import files
from trifolium.backend import Backend, get_backend
from trifolium.errors import BackendError, CheckpointError
from trifolium.replay.rows import Rows
from trifolium.replay.samplers import Prioritized, Sampler, Uniform
from trifolium.replay.spec import BufferSpec, options_of

__all__ = ["generator_state", "load", "restore_generator", "save"]

B = TypeVar("B")
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


def save(
    path: str | os.PathLike[str],
    spec: BufferSpec,
    backend: Backend,
    rows: Rows,
    sampler: Sampler,
    rng: np.random.Generator,
) -> None:
    """Write a buffer; only the rows that are stored take space."""
    manifest = {
        "spec": asdict(spec),
        "backend": backend.name,
        "generator": generator_state(rng),
        "sampler": type(sampler).__name__,
        "sampler_options": getattr(sampler, "options", {}),
    }
    arrays = {f"sampler.{name}": array for name, array in sampler.state().items()}
    files.write(path, "buffer", manifest, arrays | {f"rows.{k}": v for k, v in rows.state().items()})


def load(
    make: Callable[..., B],
    path: str | os.PathLike[str],
    backend: str | Backend | None,
    device: Any,
    sampler: Sampler | None,
) -> B:
    """Return ``make(**options)`` filled with what :func:`save` wrote."""
    manifest, arrays = files.read(path, "buffer")
    try:
        chosen = get_backend(str(manifest["backend"]) if backend is None else backend, device=device)
        options = options_of(manifest["spec"], chosen)
        if sampler is None:
            sampler = _OWN_SAMPLERS[manifest["sampler"]](**manifest["sampler_options"])
        buffer: Any = make(**options, backend=chosen, sampler=sampler)
        buffer._rows.restore(_below("rows.", arrays))
        sampler.restore(buffer._rows, _below("sampler.", arrays))
        restore_generator(buffer.rng, manifest["generator"])
    except BackendError:
        raise
    except _UNSOUND as error:
        raise CheckpointError(f"{path} does not hold a sound buffer: {error!r}") from error
    return buffer


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a Philox generator in JSON's types."""
    state: Any = rng.bit_generator.state
    return {
        **state,
        "state": {name: value.tolist() for name, value in state["state"].items()},
        "buffer": state["buffer"].tolist(),
    }


def restore_generator(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Put a Philox generator in the state that :func:`generator_state` returned."""
    if state["buffer_pos"] not in range(len(rng.bit_generator.state["buffer"]) + 1):
        raise ValueError(f"buffer_pos={state['buffer_pos']!r}")  # NumPy would read past its memory
    rng.bit_generator.state = {
        **state,
        "state": {k: np.array(v, np.uint64) for k, v in state["state"].items()},
        "buffer": np.array(state["buffer"], np.uint64),
    }


def _below(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
    }
