"""The learned state of a model in a file: everything is checked before the model changes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from trifolium._json import brief
from trifolium.errors import CheckpointError
from trifolium.files import StoredArray

__all__ = [
    "LimitedGenerator",
    "check_model",
    "check_quantiles",
    "checked_state",
    "limited_parameters",
    "number",
    "parameter_generator",
    "placeholder",
]

_KINDS = {"b": "truth values", "i": "integers", "u": "integers", "f": "numbers", "c": "complex numbers"}
# second moments, of trifolium's Adam, optax's and torch's optimizers
_SQUARES = re.compile(
    r"optimizer\.(square\.|(\d+\.)*nu\.)|optimizer\..*\.(exp_avg_sq|max_exp_avg_sq|square_avg)$"
)
_COUNTS = re.compile(r"updates$|actions$|optimizer\.(\d+\.)*(step|count)$")
_LIMIT: ContextVar[tuple[str, int] | None] = ContextVar("limit", default=None)
MOST_QUANTILES = 1024
MOST = 1 << 53
"""The largest count, up to which floats are exact."""


def check_model(path: str | os.PathLike[str], manifest: Mapping[str, Any], name: str) -> None:
    """Raise CheckpointError unless ``manifest`` is of a model of the class ``name``."""
    if manifest.get("model") != name:
        raise CheckpointError(f"{path} holds a {brief(manifest.get('model'))}; expected a {name!r}")


def checked_state(
    path: str | os.PathLike[str],
    state: Mapping[str, StoredArray],
    expected: Mapping[str, np.ndarray],
    *,
    optional: tuple[str, ...],
    is_learner: bool,
    own: Callable[[], Mapping[str, np.ndarray]] | None,
) -> dict[str, np.ndarray]:
    """Return the arrays of a model in a file, or raise CheckpointError that names one.

    Args:
        path: the file.
        state: its arrays.
        expected: arrays of the names, shapes and dtypes that the model has.
        optional: beginnings of names that the file may lack.
        is_learner: whether names are those of a learner, whose counts and squares are not negative.
        own: returns the state of the model: a value that is not finite must be there too, as in a mask
            of -inf. None if NaN and infinity are no error.
    """
    for name in sorted(expected.keys() | state.keys()):
        if name not in state and name.startswith(optional):
            continue
        found = state[name].shape if name in state else "nothing"
        wanted = expected[name].shape if name in expected else "nothing"
        if found != wanted:
            raise CheckpointError(f"{path} has {found} as {name!r}; this model has {wanted}")
    arrays = {}
    for name, stored in state.items():
        arrays[name] = array = np.asarray(stored)
        cast = _check_values(path, name, array, expected[name].dtype, own)
        if is_learner:
            _check_signs(path, name, cast)
    return arrays


def number(name: str, value: Any) -> float:
    """Return ``value`` from JSON, or raise TypeError where it is no number."""
    if type(value) not in (int, float):
        raise TypeError(f"{name}={brief(value)}; expected a number")
    found: float = value
    return found


def placeholder(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an array of that shape and dtype, all of one element: it takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def check_quantiles(options: Mapping[str, Any]) -> None:
    """Raise ValueError for numbers of quantiles in a file that no array shows, and that cost much."""
    for name in ("quantiles", "target_quantiles", "action_quantiles"):
        value = options.get(name)
        if isinstance(value, int) and value > MOST_QUANTILES:
            raise ValueError(f"{name}={brief(value)}; expected {MOST_QUANTILES} at most")


@contextmanager
def limited_parameters(path: str | os.PathLike[str], limit: int) -> Iterator[None]:
    """Within this context, networks that draw more than ``limit`` parameters are a CheckpointError.

    So options in a file can't make a network that is larger than the arrays in it.

    Args:
        path: the file, for the message.
        limit: elements of its arrays.
    """
    token = _LIMIT.set((os.fspath(path), limit))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def parameter_generator(rng: np.random.Generator) -> Any:
    """Return ``rng``, limited by :func:`limited_parameters`, to draw the parameters of a network."""
    limit = _LIMIT.get()
    return rng if limit is None else LimitedGenerator(rng, *limit)


class LimitedGenerator:
    """A generator that draws no more numbers than a file can hold parameters.

    Args:
        rng: the generator.
        path: the file.
        limit: numbers that may be drawn.
    """

    def __init__(self, rng: np.random.Generator, path: str, limit: int) -> None:
        self._rng, self._path, self._left = rng, path, limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)

    def uniform(self, low: float, high: float, size: Any) -> np.ndarray:
        """Draw as the generator does."""
        return self._rng.uniform(low, high, self._counted(size))

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Draw as the generator does."""
        return self._rng.normal(loc, scale, self._counted(size))

    def standard_normal(self, size: Any = None, *args: Any, **options: Any) -> Any:
        """Draw as the generator does."""
        return self._rng.standard_normal(self._counted(size), *args, **options)

    def random(self, size: Any = None, *args: Any, **options: Any) -> Any:
        """Draw as the generator does."""
        return self._rng.random(self._counted(size), *args, **options)

    def _counted(self, size: Any) -> Any:
        sizes = size if isinstance(size, tuple | list) else () if size is None else (size,)
        count = 1
        for each in sizes:
            count *= int(each)
        self._left -= count
        if self._left < 0:
            raise CheckpointError(
                f"{self._path} describes a network with more parameters than are saved"
            )
        return size


def _check_values(
    path: str | os.PathLike[str],
    name: str,
    found: np.ndarray,
    wanted: np.dtype,
    own: Callable[[], Mapping[str, np.ndarray]] | None,
) -> np.ndarray:
    """Return an array in the dtype that the model has."""
    kind = _KINDS.get(found.dtype.kind)
    if kind != _KINDS.get(wanted.kind):
        raise CheckpointError(f"{path} has {name!r} in {found.dtype}; this model has {wanted}")
    with np.errstate(all="ignore"):
        cast = found.astype(wanted, copy=False)
    if kind == "integers" and not np.array_equal(cast, found):
        raise CheckpointError(f"{path} has values in {name!r} that {wanted} can't hold")
    if kind == "numbers" and own is not None and not np.isfinite(cast).all():
        known = own().get(name)
        strange = ~np.isfinite(cast)
        if known is None or np.isfinite(known[strange]).any():
            what = "NaN" if np.isnan(cast).any() else "infinite values"
            raise CheckpointError(
                f"{path} has {what} in {name!r}; model.load(path, allow_nan=True) takes them"
            )
    return cast


def _check_signs(path: str | os.PathLike[str], name: str, cast: np.ndarray) -> None:
    is_count = _COUNTS.fullmatch(name) is not None
    if (is_count or _SQUARES.match(name)) and np.any(cast < 0):
        raise CheckpointError(f"{path} has values below 0 in {name!r}")
    if is_count and np.any(cast > MOST):
        raise CheckpointError(f"{path} has the count {cast} as {name!r}")
