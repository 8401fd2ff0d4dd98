"""The JAX backend: arrays on any device, compiled writes and updates with donated memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import trifolium_jax.pytrees  # noqa: F401  (so that JAX sees into states and batches)
from trifolium.backend import Array, Backend, Capabilities, Params
from trifolium.errors import BackendError
from trifolium.models import adam
from trifolium_jax.network import adopt
from trifolium_jax.training import CompiledTraining

__all__ = ["JaxBackend"]

ALIGNMENT = 64
"""Bytes that XLA wants the address of an array to be a multiple of."""


class JaxBackend(Backend):
    """Arrays are ``jax.Array`` on one device."""

    name = "jax"
    framework = "jax"
    version = jax.__version__
    xp = jnp
    strides = False

    def __init__(self, device: Any = None) -> None:
        self.device = device if isinstance(device, jax.Device) else _find_device(device)
        self.on_host = self.device.platform == "cpu"

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        return Capabilities(train=True, compile=True, donate=True, float64=_has_64_bits())

    @property
    def default_int(self) -> str:  # type: ignore[override]
        return "int64" if _has_64_bits() else "int32"

    @staticmethod
    def devices() -> list[str]:
        found = [_name(device) for device in jax.devices()]
        return found if jax.default_backend() == "cpu" else [*found, "cpu:0"]

    def set_threads(self, count: int) -> None:
        pass  # XLA's pool is sized when JAX starts

    def dtype(self, name: str) -> Any:
        try:
            found = jnp.dtype(name)
            narrowed = jax.dtypes.canonicalize_dtype(found)
        except TypeError:
            raise BackendError(f"dtype {name!r} is not one of JAX's") from None
        if narrowed != found:
            raise BackendError(
                f"dtype {name!r} is one that JAX narrows to {narrowed} now; call "
                f"jax.config.update('jax_enable_x64', True) first, or ask for {narrowed.name!r}"
            )
        return found

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        return jnp.zeros(shape, self.dtype(dtype), device=self.device)

    def from_numpy(self, array: np.ndarray) -> Array:
        self.dtype(array.dtype.name)
        return jax.device_put(array, self.device)

    def gather(self, column: np.ndarray, rows: np.ndarray) -> np.ndarray:
        # XLA takes over memory that is aligned, and copies other
        shape = (len(rows), *column.shape[1:])
        memory = np.empty(column[:1].nbytes * len(rows) + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        found = memory[start : start + memory.size - ALIGNMENT].view(column.dtype).reshape(shape)
        return column.take(rows, axis=0, out=found, mode="clip")

    def to_numpy(self, array: Array) -> np.ndarray:
        host = np.array(array)
        return host.astype(np.float32) if host.dtype == jnp.bfloat16 else host

    def is_array(self, value: Any) -> bool:
        return isinstance(value, jax.Array)

    def detach(self, array: Array) -> Array:
        if isinstance(array, jax.core.Tracer):  # one that is finished with raises a TypeError
            return jax.lax.stop_gradient(array)
        return array if array.device == self.device else jax.device_put(array, self.device)

    def take(self, array: Array, rows: Array) -> Array:
        return array.at[rows].get(mode="promise_in_bounds")

    def put(self, array: Array, rows: Array, values: Array, where: Array | None = None) -> Array:
        if where is None:
            return array.at[rows].set(values, mode="promise_in_bounds")
        # a row past the end is dropped; one read and written back would have XLA copy the array
        return array.at[jnp.where(where, rows, len(array))].set(values, mode="drop")

    def unstack(self, array: Array) -> Sequence[Array]:
        return jnp.unstack(array)

    def write(self, columns: Params, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> Params:
        # Sizes are rounded up to powers of four, so that few programs are compiled; the rows that
        # fill up lie past the end, where the write drops them.
        size = len(rows)
        padded = 1
        while padded < size:
            padded *= 4
        past_the_end = next(iter(columns.values())).shape[0]
        index = np.full(padded, past_the_end, np.int32)
        index[:size] = rows
        filled = {name: _padded(value, padded) for name, value in values.items()}
        return _write(columns, index, filled)

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),
        thoroughly: bool = False,  # noqa: ARG002 (it always is)
    ) -> Callable[..., Any]:
        return jax.jit(function, donate_argnums=tuple(donate))

    def compiled_training(self, models: Any, env: Any, params: Any, **options: Any) -> Any:
        return CompiledTraining(models, env, params, **options)

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        differentiated = jax.value_and_grad(partial(function, jnp), has_aux=True)

        def evaluate(params: Params, *args: Any) -> tuple[Array, Any, Params]:
            (loss, aux), grads = differentiated(params, *args)
            return loss, aux, grads

        return evaluate

    def convolve(self, images: Array, kernels: Array, stride: int) -> Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernels, (stride, stride), "VALID", dimension_numbers=layout
        )

    def network(
        self, network: Any, inputs: Sequence[np.ndarray], rng: np.random.Generator
    ) -> tuple[Params, Callable[..., Array], Callable[[Params], Any]]:
        with jax.default_device(self.device):
            return adopt(network, inputs, jax.random.key(int(rng.integers(2**31))))

    def adam(
        self,
        params: Params,
        grads: Params,
        state: Params,
        learning_rate: float,
        epsilon: float,
    ) -> tuple[Params, Params]:
        return adam.step(jnp, params, grads, state, learning_rate, epsilon)


@partial(jax.jit, donate_argnums=0)
def _write(columns: Params, rows: Array, values: Params) -> Params:
    return {
        name: column.at[rows].set(values[name], mode="drop") if name in values else column
        for name, column in columns.items()
    }


def _padded(value: np.ndarray, size: int) -> np.ndarray:
    """Return a fresh array of ``size`` rows that begins with ``value``."""
    filled = np.zeros((size, *value.shape[1:]), value.dtype)
    filled[: len(value)] = value
    return filled


def _has_64_bits() -> bool:
    return bool(jax.dtypes.canonicalize_dtype(np.int64) == np.int64)


def _name(device: Any) -> str:
    return f"{device.platform}:{device.id}"


def _find_device(name: Any) -> Any:
    if name is None:
        return jax.devices()[0]
    platform, _, index = str(name).partition(":")
    try:
        return jax.devices(platform)[int(index or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise BackendError(
            f"device={name!r} can't be used by JAX; present are: {', '.join(JaxBackend.devices())}"
        ) from error
