"""The options of a buffer, checked once, and the arrays that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from trifolium import _checks as checks
from trifolium._checks import Field
from trifolium.backend import Backend
from trifolium.errors import BackendError
from trifolium.replay.rules.windows import WindowShape

__all__ = ["BufferSpec", "Leaf", "leaves_of", "named_part", "nested", "supported"]

T = TypeVar("T")

RESERVED = frozenset(
    {"self", "obs", "action", "reward", "done", "truncated", "next_obs", "stream", "where"}
)
"""Names that no extra can have: the arguments of ``add``."""


class Leaf(NamedTuple):
    """One array of an observation.

    Attributes:
        path: the keys that lead to it in a structured observation; () where the observation is one
            array.
        shape: of one frame.
        dtype: name of a NumPy dtype.
        n_frames: frames of it in a state.
        column: name of the column that stores it: "obs", or such as "obs/camera/left".
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    n_frames: int
    column: str = "obs"

    def named(self, argument: str) -> str:
        """Return how errors name it as a part of ``argument``: such as obs['camera']['left']."""
        return named_part(argument, self.path)


@dataclass(frozen=True)
class BufferSpec:
    """The layout of rows and the options of reading them, as :class:`~trifolium.Buffer` documents them.

    It is hashable, so that compiled code can be cached by it.

    Attributes:
        leaves: the arrays of an observation; one with the path () unless it is structured.
        n_frames: the most frames that a leaf has in a state.
        extras: (name, shape, dtype) of each.
        is_structured: whether an observation is a mapping.
        obs_shape: shape of one observation; for structured ones a nested dict of (shape, dtype).
        obs_dtype: name of the dtype of one observation; for structured ones a nested dict of them.
        window: the options that shape a window.
        columns: the columns that a backend holds: the leaves of an observation, then the extras.
    """

    capacity: int
    leaves: tuple[Leaf, ...]
    n_frames: int
    action_shape: tuple[int, ...]
    action_dtype: str
    extras: tuple[tuple[str, tuple[int, ...], str], ...]
    n_streams: int
    n_step: int
    gamma: float
    boundary: str
    is_structured: bool = field(init=False, repr=False, compare=False)
    obs_shape: Any = field(init=False, repr=False, compare=False)
    obs_dtype: Any = field(init=False, repr=False, compare=False)
    window: WindowShape = field(init=False, repr=False, compare=False)
    columns: tuple[Field, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute the attributes that follow from the options, so that a compiler can read them."""
        shape, kinds = self.leaves[0].shape, [(leaf.shape, leaf.dtype) for leaf in self.leaves]
        is_structured = bool(self.leaves[0].path)
        length = self.capacity // self.n_streams
        leaves = (Field(leaf.column, leaf.shape, leaf.dtype) for leaf in self.leaves)
        extras = (Field(name, shape, dtype) for name, shape, dtype in self.extras)
        found = {
            "is_structured": is_structured,
            "obs_shape": nested(self.leaves, kinds) if is_structured else shape,
            "obs_dtype": nested(self.leaves, [leaf.dtype for leaf in self.leaves]),
            "window": WindowShape(length, self.n_frames, self.n_step, self.boundary == "pad"),
            "columns": (*leaves, *extras),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

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
    ) -> BufferSpec:
        """Return the options in their final types, or raise an error that names the bad one."""
        if action_dtype is None:
            action_dtype = backend.default_int
        leaves = leaves_of(obs_shape, obs_dtype, n_frames)
        spec = cls(
            capacity=checks.integer("capacity", capacity, 1),
            leaves=leaves,
            n_frames=max(leaf.n_frames for leaf in leaves),
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
        for dtype in (spec.action_dtype, *(column.dtype.name for column in spec.columns)):
            backend.dtype(dtype)  # raises where the backend has no such dtype
        return spec

    @property
    def frames(self) -> int | dict[str, int]:
        """Frames in a state; of structured observations by name at the top level."""
        if not self.is_structured:
            return self.n_frames
        return {leaf.path[0]: leaf.n_frames for leaf in self.leaves}

    def options(self, backend: Backend | None = None) -> dict[str, Any]:
        """Return the arguments of :class:`trifolium.Buffer` that make such a spec, in JSON's types.

        Args:
            backend: the backend of the new buffer; its default integer replaces an action dtype that
                it lacks.
        """
        return {
            "capacity": self.capacity,
            "obs_shape": _jsonable(self.obs_shape),
            "n_frames": self.frames,
            "obs_dtype": "float32" if self.is_structured else self.obs_dtype,
            "action_shape": list(self.action_shape),
            "action_dtype": supported(backend, self.action_dtype),
            "extras": {name: (list(shape), dtype) for name, shape, dtype in self.extras},
            "n_streams": self.n_streams,
            "n_step": self.n_step,
            "gamma": self.gamma,
            "boundary": self.boundary,
        }

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


def nested(leaves: Sequence[Leaf], values: Sequence[T]) -> Any:
    """Return ``values``, one for each leaf, in the structure of an observation.

    >>> nested([Leaf(("a",), (2,), "uint8", 1), Leaf(("b", "c"), (), "bool", 1)], [1, 2])
    {'a': 1, 'b': {'c': 2}}
    """
    if not leaves[0].path:
        return values[0]
    found: dict[str, Any] = {}
    for leaf, value in zip(leaves, values, strict=True):
        inner = found
        for key in leaf.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[leaf.path[-1]] = value
    return found


def named_part(argument: str, path: Sequence[str]) -> str:
    """Return how errors name the part of ``argument`` at ``path``.

    >>> named_part("obs", ("camera", "left"))
    "obs['camera']['left']"
    """
    return argument + "".join(f"[{key!r}]" for key in path)


def leaves_of(
    obs_shape: Any, obs_dtype: Any, n_frames: Any, name: str = "obs_shape"
) -> tuple[Leaf, ...]:
    """Return the arrays of an observation, or raise an error that names the bad part.

    Args:
        obs_shape: a shape, or a mapping, as for :class:`~trifolium.Buffer`.
        obs_dtype: the dtype of an array that is given without one.
        n_frames: a number, or one for each name at the top level.
        name: the argument that errors name.
    """
    if not isinstance(obs_shape, Mapping):
        if isinstance(n_frames, Mapping):
            raise TypeError(
                f"n_frames={n_frames!r} is a mapping; expected an integer, as {name} is no mapping"
            )
        dtype = checks.dtype_name("obs_dtype", obs_dtype)
        frames = checks.integer("n_frames", n_frames, 1)
        return (Leaf((), checks.shape(name, obs_shape), dtype, frames),)
    frames_of = _frames_by_name(obs_shape, n_frames, name)
    found = [
        Leaf(path, *_kind(named_part(name, path), kind, obs_dtype), frames_of[path[0]], _column(path))
        for path, kind in _walk(obs_shape, (), name)
    ]
    return tuple(found)


def _column(path: tuple[str, ...]) -> str:
    from urllib.parse import quote  # slow to import

    return "/".join(["obs", *(quote(key, safe=" ") for key in path)])


def _walk(
    tree: Mapping[Any, Any], path: tuple[str, ...], name: str
) -> Iterator[tuple[tuple[str, ...], Any]]:
    where = named_part(name, path)
    if not tree:
        raise ValueError(f"{where} is an empty mapping; expected at least one name")
    for key, kind in tree.items():
        if not isinstance(key, str) or not key:
            raise TypeError(f"{where} has the key {key!r}; expected names, which are not empty")
        if isinstance(kind, Mapping):
            yield from _walk(kind, (*path, key), name)
        else:
            yield (*path, key), kind


def _kind(name: str, kind: Any, obs_dtype: Any) -> tuple[tuple[int, ...], str]:
    """Return (shape, dtype) of a leaf that is given as a shape, or as (shape, dtype)."""
    if isinstance(kind, Sequence) and len(kind) == 2 and not isinstance(kind, str):
        shape, dtype = kind
        if not _is_size(dtype):
            return checks.shape(name, shape), checks.dtype_name(f"{name}[1]", dtype)
    return checks.shape(name, kind), checks.dtype_name("obs_dtype", obs_dtype)


def _is_size(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, type)


def _frames_by_name(obs_shape: Mapping[Any, Any], n_frames: Any, name: str) -> dict[str, int]:
    """Return how many frames each top-level name has in a state."""
    if not isinstance(n_frames, Mapping):
        frames = checks.integer("n_frames", n_frames, 1)
        return dict.fromkeys(obs_shape, frames)
    unknown = sorted(map(str, n_frames.keys() - obs_shape.keys()))
    if unknown:
        raise ValueError(
            f"n_frames has the names {', '.join(unknown)}; expected names of {name}: "
            f"{', '.join(map(str, obs_shape))}"
        )
    return {key: checks.integer(f"n_frames[{key!r}]", n_frames.get(key, 1), 1) for key in obs_shape}


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
        if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
            raise ValueError(
                f"extras has the name {name!r}; expected an identifier that is not an argument of add"
            )
        shape, dtype = kind if isinstance(kind, tuple | list) and len(kind) == 2 else ((), kind)
        argument = f"extras[{name!r}]"
        found.append((name, checks.shape(argument, shape), checks.dtype_name(argument, dtype)))
    return tuple(found)


def supported(backend: Backend | None, dtype: str) -> str:
    """Return ``dtype``, or the default integer where the backend has no 64-bit integers."""
    try:
        if backend is not None:
            backend.dtype(dtype)
    except BackendError:
        return backend.default_int  # type: ignore[union-attr]
    return dtype


def _jsonable(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _jsonable(value) for key, value in tree.items()}
    if isinstance(tree, tuple) and len(tree) == 2 and isinstance(tree[1], str):
        return [list(tree[0]), tree[1]]
    return list(tree)
