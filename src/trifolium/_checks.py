"""Checks of arguments: each returns the value in its final type, or raises an error that names it."""

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from trifolium.backend import as_numpy

__all__ = [
    "ColumnOptions",
    "Field",
    "dtype_name",
    "flag",
    "flags",
    "fraction",
    "integer",
    "is_single_flag",
    "optional",
    "positive",
    "seed",
    "shape",
    "vector",
]


def integer(name: str, value: Any, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    if type(value) is int and value >= minimum:
        return value
    try:
        if isinstance(value, bool | np.bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; expected an integer") from None
    if number < minimum:
        raise ValueError(f"{name}={number} is too small; expected an integer of at least {minimum}")
    return number


def positive(name: str, value: Any) -> float:
    """Return ``value`` as a finite float above 0."""
    number = _real(name, value)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{name}={value!r}; expected a finite number above 0")
    return number


def fraction(name: str, value: Any) -> float:
    """Return ``value`` as a float from 0 to 1."""
    number = _real(name, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}={value!r}; expected a number from 0 to 1")
    return number


def optional(check: Callable[[str, Any], float], name: str, value: Any) -> float | None:
    """Return None, or any other value after the check."""
    return None if value is None else check(name, value)


def _real(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; expected a number") from None


def flag(name: str, value: Any) -> bool:
    """Return ``value``, a truth value or 0 or 1 in an array of any framework, as a bool."""
    if value is True or value is False:
        return value
    if is_single_flag(value):
        return bool(value)
    return bool(flags(name, value, 1)[0])


def is_single_flag(value: Any) -> bool:
    """Return whether ``value`` is a bool by type, as opposed to an array of bools."""
    return isinstance(value, bool | np.bool)


def flags(name: str, value: Any, count: int, options: "ColumnOptions | None" = None) -> np.ndarray:
    """Return ``value`` as [count] bool; errors of shape name ``options``."""
    if type(value) is np.ndarray and value.dtype == np.bool and value.shape == (count,):
        return value
    array = Field(name, (), "float32", options).rows(np.atleast_1d(_as_array(name, value)), count)
    if not np.all((array == 0) | (array == 1)):
        raise ValueError(f"{name}={value!r:.80}; expected truth values, or 0 and 1")
    return array.astype(bool)


def seed(value: Any) -> int | None:
    """Return ``value`` as a seed."""
    return None if value is None else integer("seed", value, 0)


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Return ``value``, an int or integers, as a shape."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return tuple(integer(f"{name}[{axis}]", size, 1) for axis, size in enumerate(value))
    return (integer(name, value, 1),)


def dtype_name(name: str, value: Any) -> str:
    """Return the name of a dtype that NumPy has, given as a name or as any framework's dtype."""
    # NumPy does not accept torch.uint8, but its repr "torch.uint8" has the name
    for kind in (value, str(value).rpartition(".")[2]):
        try:
            found = np.dtype(kind)
        except TypeError:
            continue
        if value is not None and found.kind in "biufc":
            return found.name
    raise TypeError(f"{name}={value!r}; expected a numeric or bool dtype that NumPy has")


def vector(name: str, value: Any, dtype: str) -> np.ndarray:
    """Return ``value`` [N] or [N, 1] as [N] of ``dtype``."""
    if type(value) is np.ndarray and value.ndim == 1 and value.dtype == dtype:
        return value
    array = _as_array(name, value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected [N] or [N, 1]")
    if not len(array):  # NumPy makes an empty list an array of floats
        return np.zeros(0, dtype)
    return Field(name, (), dtype).rows(array, len(array))


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return as_numpy(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name} can't be converted to an array: {error}") from None


class ColumnOptions(NamedTuple):
    """The options of a buffer that set the shape and the dtype of one argument of ``add``.

    Attributes:
        shape: the option that sets the shape, such as "obs_shape"; "" for none.
        dtype: the option that sets the dtype; with a ``path`` it is that of the shape.
        path: the keys in the option, if it is a mapping to (shape, dtype).
        n_streams: streams of the buffer.
    """

    shape: str = ""
    dtype: str = ""
    path: tuple[str, ...] = ()
    n_streams: int = 1

    def for_shape(self, shape: tuple[int, ...], dtype: str) -> str:
        """Return the option as it sets the shape; "" for none.

        >>> ColumnOptions("extras", path=("tag",)).for_shape((2,), "int32")
        "extras={'tag': ((2,), 'int32')}"
        """
        if not self.path:
            return self.shape and f"{self.shape}={shape}"
        value: Any = (shape, dtype)
        for key in reversed(self.path):
            value = {key: value}
        return f"{self.shape}={value}"

    def for_dtype(self, shape: tuple[int, ...], dtype: str) -> str:
        """Return the option as it sets the dtype; "" for none."""
        if self.path:
            return self.for_shape(shape, dtype)
        return self.dtype and f"{self.dtype}={dtype!r}"


class Field:
    """One column of a buffer: checks and converts its values.

    Args:
        name: the argument that errors name.
        shape: of one row.
        dtype: name of a NumPy dtype.
        options: the options that errors of shape and dtype name; None for none.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: str, options: ColumnOptions | None = None
    ) -> None:
        self.name = name
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.options = options
        # the type of Python number that is one row, and the range that fits
        kinds: dict[str, type] = {"i": int, "u": int, "f": float}
        self._number: Any = None if shape else kinds.get(self.dtype.kind)
        limits: Any = np.finfo if self._number is float else np.iinfo
        low, high = (limits(dtype).min, limits(dtype).max) if self._number else (0, 0)
        self._low, self._high = float(low), float(high)

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return int(self.dtype.itemsize * math.prod(self.shape))

    def row(self, value: Any) -> Any:
        """Return ``value`` as one row [*shape]; leading axes of length 1 are dropped.

        A Python number that fits is returned as it is: assigning it to a row converts it.
        """
        if type(value) is self._number and self._low <= value <= self._high:
            return value
        if type(value) is np.ndarray and value.shape == self.shape and value.dtype == self.dtype:
            return value
        return self._converted(value, self.shape)

    def rows(self, value: Any, count: int) -> np.ndarray:
        """Return ``value`` as rows [count, *shape]; further leading axes of length 1 are dropped."""
        if (
            type(value) is np.ndarray
            and value.dtype == self.dtype
            and value.shape[0] == count
            and value.shape[1:] == self.shape
        ):
            return value
        return self._converted(value, (count, *self.shape))

    def array(self, value: Any) -> np.ndarray:
        """Return ``value``, of any shape, as an array of this dtype."""
        array = self.numbers(value)
        return array if array.dtype == self.dtype else self._cast(array)

    def numbers(self, value: Any) -> np.ndarray:
        """Return ``value``, of any shape, as an array of numbers of any dtype."""
        array = _as_array(self.name, value)
        if array.dtype.kind not in "biufc":
            raise TypeError(
                f"{self.name} is {value!r:.80} ({type(value).__name__}); expected numbers of dtype "
                f"{self.dtype}"
            )
        return array

    def host_copy(self, value: Any) -> np.ndarray:
        """Return a copy of ``value``, of any shape, in this dtype; integers that don't fit wrap around.

        The copy is contiguous, writable and in the native byte order.
        """
        array = self.numbers(value)
        kinds = {"b": "b", "i": "biu", "u": "biu", "f": "biuf", "c": "biufc"}
        if array.dtype.kind not in kinds[self.dtype.kind]:
            raise self.dtype_error(array.dtype)
        return np.array(array, self.dtype, order="C")

    def named(self, name: str) -> "Field":
        """Return the same field for an argument with another name."""
        return Field(name, self.shape, self.dtype.name, self.options)

    def shape_error(
        self, found: tuple[int, ...], expected: tuple[int, ...], n_streams: int = 1
    ) -> ValueError:
        """Return the error for a value of shape ``found``; it names the options that change the shape.

        Args:
            found: the shape of the value.
            expected: the expected shape.
            n_streams: number of streams on the value's axis of streams; 1 if it has no such axis.
        """
        reasons = []
        if self.options is not None:
            if n_streams > 1 or self.options.n_streams == 1:
                reasons.append(f"n_streams={n_streams}")
            reasons.append(self.options.for_shape(self.shape, self.dtype.name))
        reason = " and ".join(filter(None, reasons))
        return ValueError(
            f"{self.name} has shape {found}; expected {expected}{', as ' if reason else ''}{reason}"
        )

    def dtype_error(self, found: Any) -> TypeError:
        """Return the error for a value of dtype ``found``; it names the option that stores it."""
        other = str(found).rpartition(".")[2]  # torch's is "torch.uint8"
        option = ""
        if self.options is not None:
            # float32 is the input of networks, also where the values are float64
            wider = "float32" if other == "float64" else other
            option = self.options.for_dtype(self.shape, wider)
        return TypeError(
            f"{self.name} has dtype {other}, which can't be stored as {self.dtype} without changing "
            f"values; expected {self.dtype}: convert it first"
            f"{', or create the buffer with ' if option else ''}{option}"
        )

    def _converted(self, value: Any, expected: tuple[int, ...]) -> np.ndarray:
        array = _as_array(self.name, value)
        if array.dtype.kind not in "biufc":
            raise TypeError(
                f"{self.name} is {value!r:.80} ({type(value).__name__}); expected numbers "
                f"of shape {expected} and dtype {self.dtype}"
            )
        if self.shape[1:] == (1,) and array.shape[-1:] != (1,):
            array = array[..., np.newaxis]  # a column vector [N, 1] may be given as [N]
        if array.shape != expected:
            extra = array.ndim - len(expected)
            if extra < 0 or array.shape[extra:] != expected or array.shape[:extra] != (1,) * extra:
                lead = expected[: len(expected) - len(self.shape)]
                raise self.shape_error(array.shape, expected, *lead)
            array = array.reshape(expected)
        return array if array.dtype == self.dtype else self._cast(array)

    def _cast(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind in "iub" and self.dtype.kind in "iub":
            cast = array.astype(self.dtype)
            if (cast == array).all():  # no value was cut off
                return cast
        elif np.can_cast(array.dtype, self.dtype, "same_kind"):
            return array.astype(self.dtype)
        raise self.dtype_error(array.dtype)
