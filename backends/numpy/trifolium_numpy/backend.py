"""The NumPy backend: every operation is NumPy's own, gradients are autograd's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from trifolium.backend import Array, Backend, Capabilities, Params
from trifolium.errors import BackendError
from trifolium.models import adam

__all__ = ["NumpyBackend"]


class NumpyBackend(Backend):
    """Arrays are ``numpy.ndarray`` in host memory."""

    name = "numpy"
    framework = "numpy"
    version = np.__version__
    xp = xp
    capabilities = Capabilities(train=True, compile=False, donate=True, float64=True)
    default_int = "int64"

    def __init__(self, device: Any = None) -> None:
        if device not in (None, "cpu"):
            raise BackendError(f"device={device!r} is not one of NumPy's, which has only 'cpu'")
        self.device = "cpu"

    @staticmethod
    def devices() -> list[str]:
        return ["cpu"]

    def set_threads(self, count: int) -> None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(count, user_api="blas")

    def dtype(self, name: str) -> Any:
        try:
            return np.dtype(name)
        except TypeError:
            raise BackendError(f"dtype {name!r} is not one of NumPy's") from None

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        return np.zeros(shape, self.dtype(dtype))

    def from_numpy(self, array: np.ndarray) -> Array:
        return array

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def is_array(self, value: Any) -> bool:
        return isinstance(value, np.ndarray | np.generic)

    def detach(self, array: Array) -> Array:
        return np.asarray(array)

    def host_view(self, array: Array) -> np.ndarray | None:
        return np.asarray(array)

    def take(self, array: Array, rows: Array) -> Array:
        return array.take(rows, axis=0)

    def put(self, array: Array, rows: Array, values: Array, where: Array | None = None) -> Array:
        if where is not None:
            rows, values = rows[where], values[where]
        array[rows] = values
        return array

    def unstack(self, array: Array) -> Sequence[Array]:
        return tuple(array)

    def write(self, columns: Params, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> Params:
        for name, value in values.items():
            columns[name][rows] = value
        return columns

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),  # noqa: ARG002 (there is nothing to compile)
    ) -> Callable[..., Any]:
        return function

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # Imported here: a buffer has no use for autograd, and it takes as long to load as NumPy.
        import autograd.numpy as traced
        from autograd.core import make_vjp
        from autograd.extend import vspace
        from autograd.tracer import getval

        def evaluate(params: Params, *args: Any) -> tuple[Array, Any, Params]:
            aux: Any = None

            def loss_only(params: Params) -> Array:
                nonlocal aux
                loss, aux = function(traced, params, *args)
                aux = getval(aux)
                return loss

            pull_back, loss = make_vjp(loss_only, params)
            return np.asarray(loss), aux, pull_back(vspace(loss).ones())

        return evaluate

    def adam(
        self,
        params: Params,
        grads: Params,
        state: Params,
        learning_rate: float,
        epsilon: float,
    ) -> tuple[Params, Params]:
        return adam.step(xp, params, grads, state, learning_rate, epsilon)
