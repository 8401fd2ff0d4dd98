"""Convert losses of any type to an array of the backend."""

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence, ValuesView
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, Backend, as_numpy, is_differentiable
from trifolium.errors import LossTypeError

__all__ = ["normalised_loss"]


def normalised_loss(loss: Any, backend: Backend) -> tuple[AnyArray, tuple[str, ...]]:
    """Return ``loss`` as a floating array of ``backend``, and the names of its parts.

    The array is detached, of shape () where there is one loss and (k,) where there are several, in the
    same order. Arrays of the backend stay on its device.

    Args:
        loss: None (which is 0), a number, an array of any framework, dtype and shape, or a sequence,
            iterator or mapping of these, nested to any depth.
        backend: the backend of the returned array.

    Returns:
        The array, and a name for each of its elements if the losses came in a mapping, else no names.
        Nested names are joined by dots, and elements of an array counted: "critic.0".

    Raises:
        LossTypeError: a part of it is not a loss.

    >>> from trifolium import get_backend
    >>> normalised_loss({"actor": 1.0, "critic": [2, 3]}, get_backend("numpy"))
    (array([1., 2., 3.], dtype=float32), ('actor', 'critic.0', 'critic.1'))
    """
    xp = backend.xp
    if backend.is_array(loss) and loss.shape == ():
        return _floating(loss, backend), ()  # fast path of the usual case
    parts: list[AnyArray] = []
    names: list[str] = []
    for name, part in _leaves("", loss):
        flat = _flat(part, backend)
        parts.append(flat)
        count = flat.shape[0]
        names += [name] if count == 1 else [_joined(name, index) for index in range(count)]
    if not any(part.shape[0] for part in parts):
        raise LossTypeError(
            f"train_step returned {loss!r:.80}, which holds no loss; expected at least one"
        )
    whole = parts[0] if len(parts) == 1 else xp.concat(_of_one_dtype(xp, parts))
    if whole.shape[0] == 1:
        whole = xp.reshape(whole, ())
    return whole, tuple(names) if isinstance(loss, Mapping) else ()


def _leaves(name: str, loss: Any) -> Iterable[tuple[str, Any]]:
    """Yield (name, number or array) for everything in ``loss``, in order."""
    if loss is None:
        yield name, 0.0
    elif isinstance(loss, Mapping):
        for key, value in loss.items():
            yield from _leaves(_joined(name, key), value)
    elif _is_collection(loss):
        for index, value in enumerate(loss):
            yield from _leaves(_joined(name, index), value)
    else:
        yield name, loss


def _flat(part: Any, backend: Backend) -> AnyArray:
    """Return one number or array as a floating, detached array [n] of ``backend``."""
    return backend.xp.reshape(_floating(part, backend), (-1,))


def _floating(part: Any, backend: Backend) -> AnyArray:
    """Return one number or array as a floating, detached array of ``backend``, in its shape."""
    if not backend.is_array(part):
        return backend.from_numpy(_host_numbers(part))
    xp = backend.xp
    try:
        array = backend.detach(part) if is_differentiable(backend) else part
        if xp.isdtype(array.dtype, "real floating"):
            return array
        if xp.isdtype(array.dtype, "integral"):
            return xp.astype(array, xp.float32)
    except TypeError as error:  # such as a tracer that JAX has finished with
        raise _unreadable(part, error) from error
    raise LossTypeError(f"train_step returned an array of dtype {array.dtype}; expected real numbers")


def _host_numbers(part: Any) -> np.ndarray:
    """Return a number, or an array of another framework, as float32 on the host."""
    is_number = isinstance(part, int | float | np.generic) and not isinstance(part, bool | np.bool)
    if not is_number and not hasattr(part, "shape"):
        if isinstance(part, Coroutine):
            part.close()  # else Python warns that it was never awaited
        raise LossTypeError(
            f"train_step returned {part!r:.80}, a {type(part).__name__}; expected a number, an array, "
            "or a sequence, iterator or mapping of these"
        )
    try:
        array = as_numpy(part)
    except TypeError as error:
        raise _unreadable(part, error) from error
    if array.dtype.kind not in "iuf":
        raise LossTypeError(
            f"train_step returned a {type(part).__name__} of dtype {array.dtype}; expected real numbers"
        )
    with np.errstate(over="ignore"):  # logs report infinity
        return array.astype(np.float32)


def _unreadable(part: Any, error: TypeError) -> LossTypeError:
    reason = str(error).partition("\n")[0]
    return LossTypeError(f"train_step returned a {type(part).__name__} that is no loss: {reason:.200}")


def _of_one_dtype(xp: Any, parts: list[AnyArray]) -> list[AnyArray]:
    dtype = xp.result_type(*(part.dtype for part in parts))
    return [xp.astype(part, dtype) for part in parts]


def _is_collection(loss: Any) -> bool:
    is_text = isinstance(loss, str | bytes | bytearray | memoryview)
    return isinstance(loss, Sequence | Iterator | ValuesView) and not is_text


def _joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)
