"""The options of a buffer, checked once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trifolium import _checks as checks
from trifolium._checks import Field
from trifolium.backend import Backend
from trifolium.errors import BackendError
from trifolium.replay.windows import Shape

__all__ = ["BufferSpec", "options_of"]

_RESERVED = frozenset({"self", "obs", "action", "reward", "done", "truncated", "next_obs", "stream"})


@dataclass(frozen=True)
class BufferSpec:
    """What rows look like and how they are read; :class:`~trifolium.Buffer` tells what each means.

    ``extras`` holds (name, shape, dtype) triples. Everything in it survives JSON.
    """

    capacity: int
    obs_shape: tuple[int, ...]
    n_frames: int
    obs_dtype: str
    action_shape: tuple[int, ...]
    action_dtype: str
    extras: tuple[tuple[str, tuple[int, ...], str], ...]
    n_streams: int
    n_step: int
    gamma: float
    boundary: str

    @classmethod
    def checked(
        cls,
        backend: Backend,
        *,
        capacity: Any,
        obs_shape: Any,
        n_frames: Any,
        obs_dtype: Any,
        action_shape: Any,
        action_dtype: Any,
        extras: Any,
        n_streams: Any,
        n_step: Any,
        gamma: Any,
        boundary: Any,
    ) -> "BufferSpec":
        """Return the options in their final types, or raise an error that names the bad one."""
        if action_dtype is None:
            action_dtype = backend.default_int
        spec = cls(
            capacity=checks.integer("capacity", capacity, 1),
            obs_shape=checks.shape("obs_shape", obs_shape),
            n_frames=checks.integer("n_frames", n_frames, 1),
            obs_dtype=checks.dtype_name("obs_dtype", obs_dtype),
            action_shape=checks.shape("action_shape", action_shape),
            action_dtype=checks.dtype_name("action_dtype", action_dtype),
            extras=_extras(extras),
            n_streams=checks.integer("n_streams", n_streams, 1),
            n_step=checks.integer("n_step", n_step, 1),
            gamma=checks.fraction("gamma", gamma),
            boundary=boundary,
        )
        spec._check_capacity()
        if boundary not in ("mask", "pad"):
            raise ValueError(f"boundary={boundary!r}; expected 'mask' or 'pad'")
        for dtype in (spec.obs_dtype, spec.action_dtype, *(dtype for _, _, dtype in spec.extras)):
            backend.dtype(dtype)  # raises where the backend has no such dtype
        return spec

    @property
    def window(self) -> Shape:
        """The options that shape a window."""
        length = self.capacity // self.n_streams
        return Shape(length, self.n_frames, self.n_step, self.boundary == "pad")

    @property
    def columns(self) -> list[Field]:
        """The columns that the backend holds: observations and extras."""
        extras = (Field(name, shape, dtype) for name, shape, dtype in self.extras)
        return [Field("obs", self.obs_shape, self.obs_dtype), *extras]

    def _check_capacity(self) -> None:
        below = self.capacity - self.capacity % self.n_streams
        if below != self.capacity:
            nearest = [n for n in (below, below + self.n_streams) if n > 0]
            raise ValueError(
                f"capacity={self.capacity} is not divisible by n_streams={self.n_streams}; "
                f"the nearest that are: {' and '.join(map(str, nearest))}"
            )
        least = (self.n_frames + 1) * self.n_streams
        if self.capacity < least:
            raise ValueError(
                f"capacity={self.capacity} is too small for one stack of n_frames={self.n_frames} "
                f"and its successor in each of {self.n_streams} stream(s); expected at least {least}"
            )


def options_of(spec: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """Return the arguments that make a buffer on ``backend`` with the options of ``spec``.

    Args:
        spec: the fields of a BufferSpec, perhaps from JSON, perhaps of another backend.
        backend: where actions become the default integer if it lacks their dtype.
    """
    return {
        **spec,
        "action_dtype": _supported(backend, spec["action_dtype"]),
        "extras": {name: (tuple(shape), dtype) for name, shape, dtype in spec["extras"]},
    }


def _supported(backend: Backend, dtype: str) -> str:
    """Return ``dtype``, or the default integer where the backend has no 64-bit ones."""
    try:
        backend.dtype(dtype)
    except BackendError:
        return backend.default_int
    return dtype


def _extras(extras: Any) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    if extras is None:
        return ()
    if not isinstance(extras, Mapping):
        raise TypeError(
            f"extras={extras!r} is a {type(extras).__name__}; expected a mapping such as "
            "{'log_prob': 'float32', 'position': ((2,), 'int32')}"
        )
    found = []
    for name, kind in extras.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
            raise ValueError(
                f"extras has the name {name!r}; expected an identifier that is not an argument of add"
            )
        shape, dtype = kind if isinstance(kind, tuple) and len(kind) == 2 else ((), kind)
        argument = f"extras[{name!r}]"
        found.append((name, checks.shape(argument, shape), checks.dtype_name(argument, dtype)))
    return tuple(found)
