"""Files of buffers: conversion to manifests and arrays, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np

from trifolium._checks import Field, fraction
from trifolium._json import brief
from trifolium.backend import Backend, get_backend
from trifolium.errors import BackendError, CheckpointError, UnknownBackend
from trifolium.files import PiecewiseArray
from trifolium.replay.host.prioritized import Prioritized
from trifolium.replay.host.samplers import Sampler, Uniform
from trifolium.replay.host.store import Store
from trifolium.replay.io import pieces
from trifolium.replay.schema import BufferSpec, supported
from trifolium.saved_options import check_schedule, required
from trifolium.schedules import Linear

__all__ = [
    "arrays_of",
    "backend_for",
    "below",
    "buffer_options",
    "check_fits",
    "check_folder",
    "checked_generator",
    "generator_state",
    "manifest_of",
    "memory_of_machine",
    "restore",
    "restore_sampler",
    "set_generator",
    "sound",
]

T = TypeVar("T")
Arrays: TypeAlias = Mapping[str, pieces.Saved]

LONGEST_WINDOW = 1024
"""Frames or steps of a window that the options in a file may have where fewer rows are stored."""

MOST_STREAMS = 1 << 17
"""Streams that the options in a file may have where it has no rows."""

# what unsound values lead to
_UNSOUND = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
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


def arrays_of(store: Store, sampler: Sampler) -> dict[str, np.ndarray | PiecewiseArray]:
    """Return the arrays of a buffer's file; only the rows that are stored take space."""
    arrays: dict[str, Any] = {f"sampler.{name}": array for name, array in sampler.state().items()}
    return arrays | {f"rows.{name}": array for name, array in pieces.stored(store).items()}


def check_fits(path: str | os.PathLike[str], manifest: Mapping[str, Any], arrays: Arrays) -> None:
    """Raise CheckpointError unless options in a file fit its arrays, or are cheap without any.

    Nothing is allocated, so that a small file can't cost much memory.

    Args:
        path: the file.
        manifest: what :func:`manifest_of` returned.
        arrays: those of :func:`arrays_of`; without rows the options alone are checked.
    """
    with sound(path, "buffer"):
        spec = _spec_of(manifest)
        state, rows = below("rows.", arrays), 0
        if state:
            rows = pieces.check_rows(spec, state, spec.action_dtype)
        check_windows(spec, rows)
        if not state and spec.n_streams > MOST_STREAMS:
            raise ValueError(f"n_streams={spec.n_streams} and no rows; expected {MOST_STREAMS} at most")
        needed, there = _bytes_of(spec), memory_of_machine()
        if needed > there:
            raise MemoryError(
                f"capacity={spec.capacity} rows take {needed:,} bytes; this machine has {there:,}"
            )


def check_windows(spec: BufferSpec, rows: int) -> None:
    """Raise ValueError if a draw takes windows that are long without need, given ``rows`` stored."""
    for name in ("n_step", "n_frames"):
        value, most = getattr(spec, name), max(rows, LONGEST_WINDOW)
        if value > most:
            raise ValueError(f"{name}={value} and {rows} rows; expected {most} at most")


def check_folder(path: str | os.PathLike[str], manifest: Mapping[str, Any], arrays: Arrays) -> None:
    """Raise CheckpointError unless options in the commit of a folder fit its arrays."""
    with sound(path, "buffer"):
        spec = _spec_of(manifest)
        if arrays["rows.written"].shape != (spec.n_streams,):
            raise ValueError(
                f"written has shape {arrays['rows.written'].shape}; expected {(spec.n_streams,)}"
            )
        check_windows(spec, spec.capacity)


def restore(
    store: Store,
    sampler: Sampler,
    rng: np.random.Generator,
    manifest: Mapping[str, Any],
    arrays: Arrays,
) -> None:
    """Fill an empty store, a new sampler and a generator from the contents of a file."""
    pieces.restore(store, below("rows.", arrays))
    restore_sampler(store, sampler, arrays)
    set_generator(rng, manifest["generator"])


def restore_sampler(store: Store, sampler: Sampler, arrays: Arrays) -> None:
    """Set a new sampler to the state in the arrays of a file."""
    state: Mapping[str, Any] = below("sampler.", arrays)
    if type(sampler).restore is not Prioritized.restore:  # it may need whole arrays
        state = {name: np.asarray(array) for name, array in state.items()}
    sampler.restore(store, state)


@contextmanager
def sound(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn the errors that unsound values lead to into a CheckpointError that names ``path``."""
    try:
        yield
    except (BackendError, CheckpointError):
        raise
    except MemoryError as error:
        raise CheckpointError(f"{path} holds a {what} for which there is no memory: {error}") from error
    except _UNSOUND as error:
        raise CheckpointError(f"{path} does not hold a sound {what}: {error!r:.500}") from error


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
        chosen = required("the file", manifest["sampler_options"])
        for option, value in chosen.items():
            if isinstance(value, Linear):
                check_schedule(fraction, option, value)
        sampler = kind(**chosen)
    options = _options_of(manifest)
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


def set_generator(rng: np.random.Generator, state: Any) -> None:
    """Set a Philox generator to what :func:`generator_state` returned; it is checked first."""
    rng.bit_generator.state = checked_generator(state)


def checked_generator(state: Any) -> dict[str, Any]:
    """Return what :func:`generator_state` returned as NumPy takes it, or raise ValueError.

    NumPy checks little of it, and would read past its memory.
    """
    plain: Any = np.random.Philox(0)
    found = generator_state(np.random.Generator(plain))
    if not isinstance(state, dict) or state.keys() != found.keys():
        raise ValueError(f"generator={brief(state)}; expected {', '.join(found)}")
    if state["bit_generator"] != "Philox":
        raise ValueError(f"bit_generator={brief(state['bit_generator'])}; expected 'Philox'")
    inner = state["state"]
    if not isinstance(inner, dict) or inner.keys() != found["state"].keys():
        raise ValueError(f"state={brief(inner)}; expected {', '.join(found['state'])}")
    words = {name: _words(name, inner[name], len(each)) for name, each in found["state"].items()}
    numbers = {"buffer_pos": len(found["buffer"]), "has_uint32": 1, "uinteger": (1 << 32) - 1}
    for name, most in numbers.items():
        if type(state[name]) is not int or not 0 <= state[name] <= most:
            raise ValueError(f"{name}={brief(state[name])}; expected an integer from 0 to {most}")
    buffer = _words("buffer", state["buffer"], len(found["buffer"]))
    plain.state = checked = {**state, "state": words, "buffer": buffer}
    return checked


def backend_for(
    path: str | os.PathLike[str],
    manifest: Mapping[str, Any],
    backend: str | Backend | None = None,
    device: Any = None,
) -> Backend:
    """Return the backend to load a file on: the one given, or the one that the file names.

    Raises:
        CheckpointError: the file names a backend that is not registered.
        BackendError: as of :func:`~trifolium.get_backend`.
    """
    if backend is not None:
        return get_backend(backend, device=device)
    name = manifest["backend"]
    if not isinstance(name, str):
        raise TypeError(f"backend={brief(name)}; expected a name")
    try:
        return get_backend(name, device=device)
    except UnknownBackend as error:
        raise CheckpointError(
            f"{os.fspath(path)} was saved on backend={brief(name)}, which is not registered here; "
            "install it, or give backend="
        ) from error


def below(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
    }


def _spec_of(manifest: Mapping[str, Any]) -> BufferSpec:
    """Return the options of a manifest as they are on NumPy, which has every dtype."""
    return BufferSpec.checked(get_backend("numpy"), **_options_of(manifest))


def _options_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(manifest["spec"])
    if not isinstance(options["extras"], Mapping):  # as files before version 0.2 have them
        options["extras"] = {name: (shape, dtype) for name, shape, dtype in options["extras"]}
    return options


def _bytes_of(spec: BufferSpec) -> int:
    fields = [*spec.columns, Field("action", spec.action_shape, spec.action_dtype)]
    return spec.capacity * (sum(field.nbytes for field in fields) + 5)  # a reward and a mark


def memory_of_machine() -> int:
    """Return the bytes of memory that this machine has; very many where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return 1 << 62


def _words(name: str, value: Any, count: int) -> np.ndarray:
    is_sound = isinstance(value, list) and len(value) == count
    if not is_sound or not all(type(each) is int and 0 <= each < 1 << 64 for each in value):
        raise ValueError(f"{name}={brief(value)}; expected {count} integers of 64 bits")
    return np.array(value, np.uint64)
