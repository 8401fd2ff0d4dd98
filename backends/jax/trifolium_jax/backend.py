"""The JAX backend: arrays on any device, compiled writes and updates with donated memory."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# what public functions do in 15 us and more each, these do in 3
from jax._src.core import ShapedArray, trace_state_clean
from jax._src.lib import xla_client  # type: ignore[attr-defined]

import trifolium_jax.pytrees  # noqa: F401  (so that JAX sees into states and batches)
from trifolium.backend import Adopted, AnyArray, Capabilities, Differentiable, Optimizer, Params
from trifolium.errors import BackendError
from trifolium.models import optimizers
from trifolium_jax import forks, namespace
from trifolium_jax.network import adopt

__all__ = ["JaxBackend"]


class JaxBackend(Differentiable[jax.Array]):
    """Arrays are ``jax.Array`` on one device."""

    name = "jax"
    version = jax.__version__
    xp = namespace

    def __init__(self, device: Any = None) -> None:
        forks.start()
        self.device = device if isinstance(device, jax.Device) else _find_device(device)
        self.shares_host_memory = self.device.platform == "cpu"
        self._placement = jax.sharding.SingleDeviceSharding(self.device)

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        return Capabilities(compile=True, views=False, float64=_has_64_bits())

    @property
    def default_int(self) -> str:  # type: ignore[override]
        return "int64" if _has_64_bits() else "int32"

    @staticmethod
    def devices() -> list[str]:
        found = [*jax.local_devices()]  # JAX keeps the list that it returns
        if jax.default_backend() != "cpu":
            found += jax.local_devices(backend="cpu")
        default = _find_device(None)
        return [_name(each) for each in sorted(found, key=lambda each: each != default)]

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

    def zeros(self, shape: Sequence[int], dtype: str) -> jax.Array:
        forks.check()
        return jnp.zeros(shape, self.dtype(dtype), device=self.device)

    def from_numpy(self, array: np.ndarray) -> jax.Array:
        forks.check()
        if array.dtype.itemsize >= 8:
            self.dtype(array.dtype.name)  # which JAX may narrow now
        if trace_state_clean() and type(array) is np.ndarray:
            kind = _kind_of(self, array.shape, array.dtype)
            return xla_client.batched_device_put(kind, self._placement, [array], [self.device])
        self.dtype(array.dtype.name)
        found = jax.device_put(array, self.device)
        if isinstance(found, jax.core.Tracer):
            raise _in_compiled_code(f"a host array of shape {array.shape}")
        return found

    def to_numpy(self, array: AnyArray) -> np.ndarray:
        if isinstance(array, jax.core.Tracer) and not trace_state_clean():
            raise _in_compiled_code(
                f"a method that needs the values of a traced array of shape {array.shape}"
            )
        host = np.array(array)
        return host.astype(np.float32) if host.dtype == jnp.bfloat16 else host

    def is_array(self, value: Any) -> bool:
        return isinstance(value, jax.Array)

    def take(self, array: AnyArray, rows: AnyArray) -> jax.Array:
        return array.at[rows].get(mode="promise_in_bounds")

    def put(
        self, array: AnyArray, rows: AnyArray, values: AnyArray, where: AnyArray | None = None
    ) -> jax.Array:
        if where is None:
            return array.at[rows].set(values, mode="promise_in_bounds")
        # a row past the end is dropped; one read and written back would have XLA copy the array
        return array.at[jnp.where(where, rows, len(array))].set(values, mode="drop")

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),
        use_slow_compiler: bool = False,  # noqa: ARG002 (XLA compiles always)
    ) -> Callable[..., Any]:
        def on_device(*args: Any) -> Any:
            with jax.numpy_rank_promotion("allow"):
                return function(*jax.tree.map(self._placed, args))

        compiled = jax.jit(on_device, donate_argnums=tuple(donate), in_shardings=self._placement)

        @wraps(compiled)
        def checked(*args: Any) -> Any:
            forks.check()
            if not trace_state_clean() and _is_recording() and _holds_host_arrays(args):
                raise _in_compiled_code("a method of Buffer or of a model")
            return compiled(*args)

        return checked

    def _placed(self, value: Any) -> Any:
        """Return a host array on the device, in the dtype that jit gives it."""
        return jax.device_put(value, self.device) if isinstance(value, np.ndarray) else value

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        differentiated = jax.value_and_grad(partial(function, namespace), has_aux=True)

        def evaluate(params: Params, *args: Any) -> tuple[AnyArray, Any, Params]:
            with jax.numpy_rank_promotion("allow"):
                (loss, aux), grads = differentiated(params, *args)
            return loss, aux, grads

        return evaluate

    def detach(self, array: AnyArray) -> jax.Array:
        if isinstance(array, jax.core.Tracer):  # a tracer of a finished trace raises a TypeError
            return jax.lax.stop_gradient(array)
        return array if array.device == self.device else jax.device_put(array, self.device)

    def convolve(self, images: AnyArray, kernels: AnyArray, stride: int) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernels, (stride, stride), "VALID", dimension_numbers=layout
        )

    def optimizer(self, optimizer: Any = None, *, epsilon: float = 1e-8) -> Optimizer:
        return optimizers.optimizer(namespace, optimizer, epsilon)

    def adopt(self, network: Any, inputs: Sequence[np.ndarray], rng: np.random.Generator) -> Adopted:
        with jax.default_device(self.device):
            return adopt(network, inputs, jax.random.key(int(rng.integers(2**31))))


@lru_cache(maxsize=1024)
def _kind_of(backend: JaxBackend, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return what JAX calls the type of an array; `BackendError` if it has no such dtype."""
    return ShapedArray(shape, backend.dtype(dtype.name))


def _is_recording() -> bool:
    """Return whether JAX is tracing to compile; False under ``jax.grad`` alone."""
    return isinstance(jax.device_put(0), jax.core.Tracer)


def _holds_host_arrays(args: Any) -> bool:
    return any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(args))


def _in_compiled_code(what: str) -> BackendError:
    return BackendError(
        f"{what} is used inside a function that JAX compiles (jax.jit, lax.scan). Methods of Buffer "
        "and of models keep their data on the host: they would run once, while JAX traces the "
        "function, and their results would be constants of the compiled code. Use the functions of "
        "trifolium.replay, which take a state and return one, or trifolium_jax.CompiledTraining. For "
        "a constant array use jax.numpy.asarray"
    )


def _has_64_bits() -> bool:
    return bool(jax.dtypes.canonicalize_dtype(np.int64) == np.int64)


def _name(device: Any) -> str:
    return f"{device.platform}:{device.id}"


def _find_device(name: Any) -> Any:
    if name is None:
        config: Any = jax.config
        name = config.jax_default_device  # a device, a platform or None
        if isinstance(name, jax.Device):
            return name
    if name is None:
        return jax.local_devices()[0]
    platform, _, index = str(name).partition(":")
    try:
        return jax.devices(platform)[int(index or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise BackendError(
            f"device={name!r} can't be used by JAX; present are: {', '.join(JaxBackend.devices())}"
        ) from error
