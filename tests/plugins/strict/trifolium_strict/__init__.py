"""array-api-strict as a backend: its namespace has nothing but the array API standard.

It is also an example of a third party's backend for arrays alone: one class, one entry point. It
implements `trifolium.Backend`; it would implement `trifolium.Differentiable` to let models learn.
"""

from collections.abc import Callable, Sequence
from typing import Any

import array_api_strict as xp
import numpy as np

from trifolium.backend import AnyArray, Backend, Capabilities
from trifolium.errors import BackendError

__all__ = ["StrictBackend"]


DEVICE = xp.Device("CPU_DEVICE")


class StrictBackend(Backend):
    """Arrays are ``array_api_strict.Array``; storage is replaced, never written in place."""

    name = "strict"
    version = xp.__version__
    xp = xp
    capabilities = Capabilities(compile=False, views=False, float64=True)
    default_int = "int64"
    shares_host_memory = False  # so that tests cover storage on a device where there is none

    def __init__(self, device: Any = None) -> None:
        if device not in (None, "cpu", DEVICE):
            raise BackendError(f"device={device!r} is not known; there is only 'cpu'")
        self.device = DEVICE

    @staticmethod
    def devices() -> list[str]:
        return ["cpu"]

    def dtype(self, name: str) -> Any:
        found = getattr(xp, name, None)
        if not isinstance(found, type(xp.float32)):
            raise BackendError(f"dtype {name!r} is not in the array API standard")
        return found

    def zeros(self, shape: Sequence[int], dtype: str) -> AnyArray:
        return xp.zeros(tuple(shape), dtype=self.dtype(dtype))

    def from_numpy(self, array: np.ndarray) -> AnyArray:
        return xp.asarray(array)

    def to_numpy(self, array: AnyArray) -> np.ndarray:
        return np.array(np.from_dlpack(array))

    def is_array(self, value: Any) -> bool:
        return isinstance(value, type(xp.empty(0)))

    def take(self, array: AnyArray, rows: AnyArray) -> AnyArray:
        return xp.take(array, rows, axis=0)

    def put(
        self, array: AnyArray, rows: AnyArray, values: AnyArray, where: AnyArray | None = None
    ) -> AnyArray:
        written = xp.asarray(array, copy=True)
        for place in range(rows.shape[0]):
            if where is None or bool(where[place]):
                written[int(rows[place]), ...] = values[place, ...]
        return written

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),
        use_slow_compiler: bool = False,
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
