"""The NumPy backend: every operation is NumPy's own, gradients are autograd's."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from trifolium.backend import Adopted, AnyArray, Capabilities, Differentiable, Optimizer
from trifolium.errors import BackendError
from trifolium_numpy import namespace

__all__ = ["NumpyBackend"]


class NumpyBackend(Differentiable[np.ndarray]):
    """Arrays are ``numpy.ndarray`` in host memory."""

    name = "numpy"
    version = np.__version__
    xp = namespace
    capabilities = Capabilities(compile=False, views=True, float64=True)
    default_int = "int64"
    shares_host_memory = True

    def __init__(self, device: Any = None) -> None:
        if device not in (None, "cpu"):
            raise BackendError(f"device={device!r} is not one of NumPy's, which has only 'cpu'")
        self.device = "cpu"

    @staticmethod
    def devices() -> list[str]:
        return ["cpu"]

    def dtype(self, name: str) -> Any:
        try:
            return np.dtype(name)
        except TypeError:
            raise BackendError(f"dtype {name!r} is not one of NumPy's") from None

    def zeros(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        return np.zeros(shape, self.dtype(dtype))

    def from_numpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def to_numpy(self, array: AnyArray) -> np.ndarray:
        return np.array(array)

    def is_array(self, value: Any) -> bool:
        return isinstance(value, np.ndarray | np.generic)

    def take(self, array: AnyArray, rows: AnyArray) -> np.ndarray:
        return array.take(rows, axis=0)

    def put(
        self, array: AnyArray, rows: AnyArray, values: AnyArray, where: AnyArray | None = None
    ) -> np.ndarray:
        if where is not None:
            rows, values = rows[where], values[where]
        array[rows] = values
        return array

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),  # noqa: ARG002 (there is nothing to compile)
        use_slow_compiler: bool = False,  # noqa: ARG002
    ) -> Callable[..., Any]:
        return function

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # A buffer has no use for autograd, and it takes as long to load as NumPy.
        from trifolium_numpy.gradient import value_and_grad

        return partial(value_and_grad, function)

    def detach(self, array: AnyArray) -> np.ndarray:
        return np.asarray(array)

    def convolve(self, images: AnyArray, kernels: AnyArray, stride: int) -> np.ndarray:
        from trifolium_numpy.convolution import convolve  # it imports autograd

        return convolve(images, kernels, stride)

    def optimizer(self, optimizer: Any = None, *, epsilon: float = 1e-8) -> Optimizer:
        from trifolium.models import optimizers

        return optimizers.optimizer(namespace, optimizer, epsilon)

    def adopt(
        self,
        network: Any,
        inputs: Sequence[np.ndarray],  # noqa: ARG002
        rng: np.random.Generator,
    ) -> Adopted:
        is_pair = isinstance(network, tuple) and len(network) == 2 and callable(network[1])
        params = network[0] if is_pair else None
        params = params(rng) if callable(params) else params
        if not isinstance(params, Mapping) or not params:
            raise TypeError(
                f"network={network!r:.80} is not a network for NumPy; expected a pair (init, apply): "
                "init(rng) returns a dict of arrays, or is one, and apply(xp, params, *inputs) "
                "returns the outputs, computed with the functions of xp"
            )
        copies = {name: np.array(value) for name, value in params.items()}
        return Adopted(
            params=copies,
            apply=network[1],
            training_apply=network[1],
            export=lambda params: {name: value.copy() for name, value in params.items()},
            statistics={},
        )
