"""array-api-strict as a backend: it has only what the array API standard has.

It is also what a third party writes to bring a backend of its own: one class, one entry point.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import array_api_strict as xp
import numpy as np

from trifolium.backend import Array, Backend, Capabilities, Params
from trifolium.errors import BackendError
from trifolium.models import adam

__all__ = ["StrictBackend"]


class StrictBackend(Backend):
    """Arrays are ``array_api_strict.Array``; storage is replaced, never written in place."""

    name = "strict"
    framework = "array_api_strict"
    version = xp.__version__
    xp = xp
    capabilities = Capabilities(train=False, compile=False, donate=False, float64=True)
    default_int = "int64"
    strides = False
    on_host = False  # so that what a device of its own takes is tried where there is none

    def __init__(self, device: Any = None) -> None:
        if device not in (None, "cpu"):
            raise BackendError(f"device={device!r} is not known; there is only 'cpu'")
        self.device = "cpu"

    @staticmethod
    def devices() -> list[str]:
        return ["cpu"]

    def set_threads(self, count: int) -> None:
        pass

    def dtype(self, name: str) -> Any:
        found = getattr(xp, name, None)
        if not isinstance(found, type(xp.float32)):
            raise BackendError(f"dtype {name!r} is not in the array API standard")
        return found

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        return xp.zeros(tuple(shape), dtype=self.dtype(dtype))

    def from_numpy(self, array: np.ndarray) -> Array:
        return xp.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(np.from_dlpack(array))

    def is_array(self, value: Any) -> bool:
        return isinstance(value, type(xp.empty(0)))

    def detach(self, array: Array) -> Array:
        return array

    def take(self, array: Array, rows: Array) -> Array:
        return xp.take(array, rows, axis=0)

    def put(self, array: Array, rows: Array, values: Array, where: Array | None = None) -> Array:
        written = xp.asarray(array, copy=True)
        for place in range(rows.shape[0]):
            if where is None or bool(where[place]):
                written[int(rows[place]), ...] = values[place, ...]
        return written

    def unstack(self, array: Array) -> Sequence[Array]:
        return xp.unstack(array)

    def write(self, columns: Params, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> Params:
        written = {name: xp.asarray(column, copy=True) for name, column in columns.items()}
        for name, value in values.items():
            for row, item in zip(rows.tolist(), value, strict=True):
                written[name][row, ...] = self.from_numpy(item)
        return written

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),
        thoroughly: bool = False,
    ) -> Callable[..., Any]:
        def on_device(*args: Any) -> Any:
            return function(*map(self._moved, args))

        return on_device

    def _moved(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.from_numpy(value)
        if isinstance(value, tuple):
            moved = map(self._moved, value)
            return type(value)(*moved) if hasattr(value, "_fields") else tuple(moved)
        return value

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        raise NotImplementedError("array-api-strict takes no gradients")

    def convolve(self, images: Array, kernels: Array, stride: int) -> Array:
        raise NotImplementedError("array-api-strict has no convolution")

    def network(
        self, network: Any, inputs: Sequence[np.ndarray], rng: np.random.Generator
    ) -> tuple[Params, Callable[..., Array], Callable[[Params], Any]]:
        raise NotImplementedError("array-api-strict takes no gradients")

    def adam(
        self,
        params: Params,
        grads: Params,
        state: Params,
        learning_rate: float,
        epsilon: float,
    ) -> tuple[Params, Params]:
        return adam.step(xp, params, grads, state, learning_rate, epsilon)
