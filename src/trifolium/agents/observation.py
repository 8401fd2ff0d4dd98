"""ObservationSpec: converts the observations of a world to the arrays that a model takes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trifolium import _checks as checks
from trifolium._checks import Field
from trifolium.errors import WorldError
from trifolium.replay.schema import leaves_of, nested

if TYPE_CHECKING:
    import gymnasium as gym

__all__ = [
    "Flat",
    "Image",
    "Joined",
    "ObservationSpec",
    "OneHot",
    "Passthrough",
    "Structured",
    "one_of",
]

_BYTES = ("bool", "int8", "uint8")


class ObservationSpec(ABC):
    """Converts observations to arrays of one shape and dtype, or to mappings of such arrays.

    A subclass implements :meth:`observe`; :meth:`observe_each` calls it for each observation.

    Args:
        shape: shape of one array, the ``input_size`` of a model. For structured observations a mapping
            from names to a shape, to (shape, dtype), or to another mapping.
        dtype: dtype of the arrays, the ``obs_dtype`` of a model; in a mapping, of those without a dtype
            of their own.
    """

    shape: Any  # a tuple, or a nested dict of (shape, dtype)

    def __init__(self, shape: int | Sequence[int] | Mapping[str, Any], dtype: str = "float32") -> None:
        self.dtype = checks.dtype_name("dtype", dtype)
        leaves = leaves_of(shape, dtype, 1, name="shape")
        is_structured = isinstance(shape, Mapping)
        self.shape = nested(leaves, [(each.shape, each.dtype) for each in leaves])
        if not is_structured:
            self.shape, _ = self.shape

    @property
    def is_structured(self) -> bool:
        """Whether observations become mappings of arrays."""
        return isinstance(self.shape, Mapping)

    @abstractmethod
    def observe(self, observation: Any) -> Any:
        """Return ``observation`` as a host array [*shape], or as a mapping of such arrays.

        Raises:
            ValueError, TypeError: the observation does not fit this spec.
        """

    def observe_each(self, observations: Any, count: int) -> Any:
        """Return ``count`` observations, as a vector environment batches them: [count, *shape]."""
        return _stacked([self.observe(one_of(observations, i)) for i in range(count)])

    @staticmethod
    def of_arrays(shape: Any, dtype: str = "float32") -> ObservationSpec:
        """Return the spec for observations that are arrays of the right shapes already.

        Args:
            shape: as for :class:`ObservationSpec`.
            dtype: as for :class:`ObservationSpec`.

        >>> ObservationSpec.of_arrays({"speed": 2}).observe({"speed": [1, 2]})
        {'speed': array([1., 2.], dtype=float32)}
        """
        if not isinstance(shape, Mapping):
            return Passthrough(shape, dtype)
        leaves = leaves_of(shape, dtype, 1, name="shape")
        return _kept(nested(leaves, [Passthrough(each.shape, each.dtype) for each in leaves]))

    @staticmethod
    def from_space(space: gym.Space[Any], *, structured: bool = False) -> ObservationSpec:
        """Return the spec for the observations of a Gymnasium space.

        =====================  =======================================================================
        space                  array
        =====================  =======================================================================
        Box of uint8           as it is, uint8: an :class:`Image` if it has three axes
        other Box              as it is, in float32; a number becomes an array of one
        Discrete               :class:`OneHot` [n]
        MultiDiscrete          the one-hots of its numbers, one after another: float32 [sum(nvec)]
        MultiBinary            flat, float32
        Dict, Tuple            the arrays of its parts, flattened and concatenated in the space's order:
                               float32. Parts that are text are left out.
        =====================  =======================================================================

        Args:
            space: the observation space.
            structured: whether the parts of a Dict or a Tuple stay apart (:class:`Structured`): each
                becomes the array of the table, but a Box or MultiBinary keeps its shape, and a dtype
                of bool, int8 or uint8.

        Raises:
            WorldError: the space is not supported; the message lists the supported spaces.

        >>> import gymnasium as gym
        >>> ObservationSpec.from_space(gym.spaces.Discrete(4)).observe(2).tolist()
        [0.0, 0.0, 1.0, 0.0]
        >>> pair = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.MultiBinary(3)))
        >>> ObservationSpec.from_space(pair, structured=True).shape
        {'0': ((2,), 'float32'), '1': ((3,), 'int8')}
        """
        return _of_space(space, structured)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype!r})"


class _Batchwise(ObservationSpec):
    """A spec that converts a batch of observations at once."""

    @abstractmethod
    def _encoded(self, observations: Any, count: int | None) -> Any:
        """Return [count, *shape], or [*shape] where ``count`` is None."""

    def observe(self, observation: Any) -> Any:
        """Return ``observation`` as a host array [*shape]."""
        return self._encoded(observation, None)

    def observe_each(self, observations: Any, count: int) -> Any:
        """Return ``count`` observations as [count, *shape]."""
        return self._encoded(observations, count)


class Passthrough(_Batchwise):
    """Observations that are arrays of the right shape already. They are copied.

    Args:
        shape: of one observation.
        dtype: dtype of the result; conversions that lose more than precision are errors.

    >>> Passthrough((2,)).observe([1, 2])
    array([1., 2.], dtype=float32)
    """

    def __init__(self, shape: int | Sequence[int], dtype: str = "float32") -> None:
        super().__init__(shape, dtype)
        self._field = Field("observation", self.shape, self.dtype)

    def _encoded(self, observations: Any, count: int | None) -> np.ndarray:
        return _array(self._field, observations, count)


class Flat(_Batchwise):
    """Arrays flattened to one axis: [prod(shape)].

    Args:
        shape: of one observation; () for a number.
        dtype: as for :class:`Passthrough`.

    >>> Flat((2, 2)).observe([[1, 2], [3, 4]])
    array([1., 2., 3., 4.], dtype=float32)
    """

    def __init__(self, shape: Sequence[int], dtype: str = "float32") -> None:
        found = checks.shape("shape", shape)
        super().__init__(math.prod(found), dtype)
        self._field = Field("observation", found, self.dtype)

    def _encoded(self, observations: Any, count: int | None) -> np.ndarray:
        return _array(self._field, observations, count).reshape((*_lead(count), *self.shape))


class Image(Passthrough):
    """Images of dtype uint8, which stay uint8: [height, width, channels].

    Args:
        shape: (height, width, channels), or (height, width) for one channel.

    >>> Image((84, 84)).shape
    (84, 84, 1)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        given = checks.shape("shape", shape)
        if len(given) not in (2, 3):
            raise ValueError(f"shape={given}; expected (height, width) or (height, width, channels)")
        super().__init__(given if len(given) == 3 else (*given, 1), "uint8")
        self._field = Field("observation", given, "uint8")

    def _encoded(self, observations: Any, count: int | None) -> np.ndarray:
        return super()._encoded(observations, count).reshape((*_lead(count), *self.shape))


class OneHot(_Batchwise):
    """Observations of integers, each of which is one-hot encoded.

    Args:
        classes: how many values a number can take; or a count for each number along the last axis,
            such as (11, 6, 3) for a grid whose cells hold an object, a colour and a state; or one for
            every number: an array of ``shape``.
        shape: of one observation: () for a number, (height, width) for a grid.
        first: the smallest value, or one for each count.

    One count gives an array [*shape, classes]; counts along the last axis give
    [*shape[:-1], sum(classes)]; a count for every number gives [sum(classes)].

    >>> OneHot(3, shape=(2,)).observe([2, 0]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> OneHot((2, 3), shape=(2,)).observe([1, 0]).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """

    def __init__(self, classes: Any, shape: int | Sequence[int] = (), first: Any = 0) -> None:
        given = checks.shape("shape", shape)
        counts = np.asarray(classes)
        if counts.shape not in ((), given[-1:], given):
            raise ValueError(
                f"classes={classes!r} has shape {counts.shape}; expected one count, "
                f"or counts of shape {given[-1:]}, or {given}"
            )
        checks.shape("classes", counts.reshape(-1).tolist())  # whole numbers above 0
        each_alone = counts.ndim > 1
        self._read = (counts.size,) if each_alone else given
        self._counts = counts.reshape(-1)
        self._first = np.asarray(first, np.int64).reshape(-1)
        self._starts = np.cumsum(self._counts) - self._counts
        self._field = Field("observation", given, "int64")
        kept = self._read if counts.ndim == 0 else self._read[:-1]
        super().__init__((*kept, int(self._counts.sum())))

    def _encoded(self, observations: Any, count: int | None) -> np.ndarray:
        lead = _lead(count)
        numbers = _array(self._field, observations, count).reshape((*lead, *self._read))
        if len(self._counts) == 1 and len(self.shape) > len(self._read):
            numbers = numbers[..., None]
        classes = numbers - self._first
        outside = (classes < 0) | (classes >= self._counts)
        if outside.any():
            last = self._first + self._counts - 1
            raise ValueError(
                f"observation holds {numbers[outside][0]}; expected whole numbers "
                f"from {_brief(self._first)} to {_brief(last)}"
            )
        encoded = np.zeros((*lead, *self.shape), np.float32)
        np.put_along_axis(encoded, classes + self._starts, 1.0, axis=-1)
        return encoded


class _OfParts(_Batchwise):
    """Base of Joined and Structured: the parts of a mapping or a sequence, each with a spec."""

    parts: dict[Any, ObservationSpec]

    def _part(self, key: Any, observations: Any, count: int | None) -> Any:
        spec = self.parts[key]
        try:
            value = observations[key]
        except (LookupError, TypeError):
            raise ValueError(
                f"observation has no part {key!r}; expected the parts {list(self.parts)}"
            ) from None
        try:
            return spec.observe(value) if count is None else spec.observe_each(value, count)
        except (ValueError, TypeError) as error:
            raise type(error)(f"in part {key!r}: {error}") from error


class Joined(_OfParts):
    """Parts of a mapping or a sequence, flattened and concatenated, in float32.

    Args:
        parts: key to the spec of that part, or specs by position; they are read in this order, and
            parts without a spec are ignored.

    >>> spec = Joined({"place": OneHot(3), "speed": Flat((2,))})
    >>> spec.observe({"place": 1, "speed": [0.5, 2.0], "name": "ignored"}).tolist()
    [0.0, 1.0, 0.0, 0.5, 2.0]
    """

    def __init__(self, parts: Mapping[Any, ObservationSpec] | Sequence[ObservationSpec]) -> None:
        self.parts = _by_key(parts)
        for key, part in self.parts.items():
            if part.is_structured:
                raise TypeError(f"parts[{key!r}] is a {type(part).__name__}; expected a spec of arrays")
        super().__init__(sum(math.prod(part.shape) for part in self.parts.values()))

    def _encoded(self, observations: Any, count: int | None) -> np.ndarray:
        found = [self._part(k, observations, count).reshape((*_lead(count), -1)) for k in self.parts]
        return np.concatenate(found, axis=-1, dtype=np.float32)


class Structured(_OfParts):
    """Parts of a mapping or a sequence as a mapping of arrays, for models with structured observations.

    Args:
        parts: key to the spec of that part, or specs by position; parts without a spec are ignored. The
            names in the result are the keys as text, such as "0" and "1" for positions. A part may be
            structured itself.

    Attributes:
        shape: mapping from names to (shape, dtype), or to another mapping; the ``input_size`` of a
            model.

    >>> spec = Structured({"place": OneHot(3), "speed": Passthrough((2,))})
    >>> spec.shape
    {'place': ((3,), 'float32'), 'speed': ((2,), 'float32')}
    >>> spec.observe({"place": 1, "speed": [0.5, 2.0]})["place"].tolist()
    [0.0, 1.0, 0.0]
    """

    def __init__(self, parts: Mapping[Any, ObservationSpec] | Sequence[ObservationSpec]) -> None:
        self.parts = _by_key(parts)
        self._names = {key: str(key) for key in self.parts}
        if len(set(self._names.values())) < len(self.parts):
            raise ValueError(f"parts has the keys {list(self.parts)}; expected different names as text")
        super().__init__(
            {
                self._names[key]: part.shape if part.is_structured else (part.shape, part.dtype)
                for key, part in self.parts.items()
            }
        )

    def _encoded(self, observations: Any, count: int | None) -> dict[str, Any]:
        return {name: self._part(key, observations, count) for key, name in self._names.items()}


def _kept(specs: Mapping[str, Any]) -> Structured:
    """Return the spec for a nested dict of specs."""
    return Structured(
        {name: _kept(each) if isinstance(each, dict) else each for name, each in specs.items()}
    )


def _by_key(parts: Mapping[Any, ObservationSpec] | Sequence[ObservationSpec]) -> dict[Any, Any]:
    return dict(parts if isinstance(parts, Mapping) else enumerate(parts))


def one_of(observations: Any, index: int) -> Any:
    """Return one observation of a batch: an array, or mappings and tuples of arrays.

    >>> one_of({"place": np.array([3, 4])}, 1)
    {'place': np.int64(4)}
    """
    if isinstance(observations, Mapping):
        return {key: one_of(part, index) for key, part in observations.items()}
    is_text = isinstance(observations, tuple) and isinstance(observations[0], str)
    if isinstance(observations, tuple) and not is_text:
        return tuple(one_of(part, index) for part in observations)
    return observations[index]


def _stacked(observed: Sequence[Any]) -> Any:
    if isinstance(observed[0], Mapping):
        return {name: _stacked([each[name] for each in observed]) for name in observed[0]}
    return np.stack(observed)


def _brief(numbers: np.ndarray) -> Any:
    return numbers[0] if np.all(numbers == numbers[0]) else numbers.tolist()


def _lead(count: int | None) -> tuple[int, ...]:
    return () if count is None else (count,)


def _array(field: Field, observations: Any, count: int | None) -> np.ndarray:
    """Return a checked copy: environments may write to their arrays later."""
    found = field.row(observations) if count is None else field.rows(observations, count)
    return np.array(found, field.dtype)


# Gymnasium's spaces


def _of_space(space: gym.Space[Any], structured: bool) -> ObservationSpec:
    import gymnasium as gym  # here, as a world of your own needs no gymnasium

    match space:
        case gym.spaces.Box():
            return _of_box(space)
        case gym.spaces.Discrete():
            return OneHot(int(space.n), first=int(space.start))
        case gym.spaces.MultiDiscrete():
            return OneHot(space.nvec, space.nvec.shape, first=space.start)
        case gym.spaces.MultiBinary():
            return Flat(space.shape)
        case gym.spaces.Dict():
            return _of_parts(space, space.spaces, structured)
        case gym.spaces.Tuple():
            return _of_parts(space, dict(enumerate(space.spaces)), structured)
    raise WorldError(
        f"the observation space {space} has no array of a fixed shape; "
        "expected Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"
    )


def _of_box(space: gym.spaces.Box) -> ObservationSpec:
    if not space.shape:
        return Flat(())
    if space.dtype != np.uint8:
        return Passthrough(space.shape)
    return Image(space.shape) if len(space.shape) == 3 else Passthrough(space.shape, "uint8")


def _of_parts(
    space: gym.Space[Any], parts: Mapping[Any, gym.Space[Any]], structured: bool
) -> ObservationSpec:
    of_part = _of_structured_part if structured else _of_joined_part
    specs = {key: of_part(part) for key, part in parts.items() if not _is_text(part)}
    if not specs:
        raise WorldError(f"the observation space {space} has no numeric part")
    return Structured(specs) if structured else Joined(specs)


def _of_joined_part(space: gym.Space[Any]) -> ObservationSpec:
    return _of_space(space, structured=False)


def _of_structured_part(space: gym.Space[Any]) -> ObservationSpec:
    import gymnasium as gym

    if isinstance(space, gym.spaces.Box | gym.spaces.MultiBinary):
        dtype = str(space.dtype)
        return Passthrough(space.shape, dtype if dtype in _BYTES else "float32")
    return _of_space(space, structured=True)


def _is_text(space: gym.Space[Any]) -> bool:
    """Return whether elements of ``space`` are strings: gymnasium's Text, MiniGrid's missions."""
    return space.dtype is not None and space.dtype.kind == "U"
