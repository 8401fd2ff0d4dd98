"""Buffers as manifests and arrays, as they lie in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trifolium.backend import Backend, get_backend
from trifolium.errors import BackendError, CheckpointError
from trifolium.replay.samplers import Prioritized, Sampler, Uniform
from trifolium.replay.spec import options_of

if TYPE_CHECKING:
    from trifolium.replay.transfer import Transfer

__all__ = [
    "arrays_of",
    "below",
    "buffer_options",
    "generator_state",
    "manifest_of",
    "restore_generator",
    "sound",
    "unpack",
]

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


def manifest_of(buffer: Transfer) -> dict[str, Any]:
    """Return what a file tells of a buffer besides its arrays."""
    return {
        "spec": asdict(buffer.spec),
        "backend": buffer.backend.name,
        "generator": generator_state(buffer.rng),
        "sampler": type(buffer.sampler).__name__,
        "sampler_options": getattr(buffer.sampler, "options", {}),
    }


def arrays_of(buffer: Transfer) -> dict[str, np.ndarray]:
    """Return the arrays of a buffer's file; only the rows that are stored take space."""
    arrays = {f"sampler.{name}": array for name, array in buffer.sampler.state().items()}
    return arrays | {f"rows.{name}": array for name, array in buffer._rows.state().items()}


def unpack(
    make: Callable[..., B],
    path: str | os.PathLike[str],
    packed: tuple[dict[str, Any], dict[str, np.ndarray]],
    backend: str | Backend | None,
    device: Any = None,
    sampler: Sampler | None = None,
) -> B:
    """Return ``make(**options)`` filled with the (manifest, arrays) that ``path`` held."""
    manifest, arrays = packed
    with sound(path, "buffer"):
        chosen = get_backend(str(manifest["backend"]) if backend is None else backend, device=device)
        options = buffer_options(manifest, chosen, sampler)
        buffer: Any = make(**options, backend=chosen)
        buffer._rows.restore(below("rows.", arrays))
        buffer.sampler.restore(buffer._rows, below("sampler.", arrays))
        restore_generator(buffer.rng, manifest["generator"])
    return buffer


@contextmanager
def sound(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn what unsound values lead to into a CheckpointError that says that ``path`` holds them."""
    try:
        yield
    except (BackendError, CheckpointError):
        raise
    except _UNSOUND as error:
        raise CheckpointError(f"{path} does not hold a sound {what}: {error!r}") from error


def buffer_options(
    manifest: dict[str, Any], backend: Backend, sampler: Sampler | None = None
) -> dict[str, Any]:
    """Return the arguments of Buffer that ``manifest`` describes.

    Args:
        manifest: as :func:`manifest_of` makes it.
        backend: the backend that the buffer is for.
        sampler: in the place of the one described.
    """
    if sampler is None:
        name = manifest["sampler"]
        if name not in _OWN_SAMPLERS:
            raise ValueError(f"it was saved with a sampler of your own, {name}; give sampler= again")
        sampler = _OWN_SAMPLERS[name](**manifest["sampler_options"])
    return options_of(manifest["spec"], backend) | {"sampler": sampler}


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


def below(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
    }
