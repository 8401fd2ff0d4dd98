"""The PyTorch backend: tensors on any device, autograd, fused Adam, torch.compile."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

import trifolium_torch.dataset
import trifolium_torch.pytrees  # noqa: F401  (so that torch sees into states and batches)
from trifolium.backend import Adopted, AnyArray, Capabilities, Differentiable, Optimizer, Params
from trifolium.errors import BackendError
from trifolium.models.update import Learned
from trifolium_torch import namespace
from trifolium_torch.copier import Copier
from trifolium_torch.denormals import without_denormals
from trifolium_torch.network import adopt
from trifolium_torch.optimizers import optimizer as make_optimizer
from trifolium_torch.repeating import RepeatedUpdate

__all__ = ["TorchBackend"]


class TorchBackend(Differentiable[torch.Tensor]):
    """Arrays are ``torch.Tensor`` on one device."""

    name = "torch"
    version = str(torch.__version__)
    xp = namespace
    capabilities = Capabilities(compile=True, views=True, float64=True)
    default_int = "int64"

    def __init__(self, device: Any = None) -> None:
        try:
            wanted = torch.get_default_device() if device is None else device
            self.device = torch.empty(0, device=wanted).device
        except (RuntimeError, AssertionError, TypeError) as error:
            raise BackendError(
                f"device={device!r} can't be used by torch ({str(error).splitlines()[0]}); "
                f"present are: {', '.join(self.devices())}"
            ) from error
        self.shares_host_memory = self.device.type == "cpu"

    @staticmethod
    def devices() -> list[str]:
        found = ["cpu"]
        if torch.accelerator.is_available():
            kind = torch.accelerator.current_accelerator()
            found += [f"{kind}:{index}" for index in range(torch.accelerator.device_count())]
        return found

    def dtype(self, name: str) -> torch.dtype:
        found = getattr(torch, name, None)
        if not isinstance(found, torch.dtype):
            raise BackendError(f"dtype {name!r} is not one of torch's")
        if found in (torch.uint16, torch.uint32, torch.uint64):
            raise BackendError(
                f"dtype {name!r} can't be gathered by torch (no index_select for it); "
                "use uint8 or a signed integer"
            )
        return found

    def zeros(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        return torch.zeros(tuple(shape), dtype=self.dtype(dtype), device=self.device)

    def from_numpy(self, array: np.ndarray) -> torch.Tensor:
        if not array.flags.writeable:
            array = array.copy()  # torch warns of memory that it must not write
        try:
            tensor = torch.from_numpy(array)
        except ValueError:  # torch has no negative strides
            tensor = torch.from_numpy(array.copy())
        return tensor if self.shares_host_memory else tensor.to(self.device)

    def to_numpy(self, array: AnyArray) -> np.ndarray:
        host = array if array.is_cpu and not array.requires_grad else array.detach().cpu()
        if host.dtype == torch.bfloat16:
            host = host.float()
        return np.array(host.numpy())

    def is_array(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def take(self, array: AnyArray, rows: AnyArray) -> torch.Tensor:
        return array.index_select(0, rows)

    def put(
        self, array: AnyArray, rows: AnyArray, values: AnyArray, where: AnyArray | None = None
    ) -> torch.Tensor:
        values = values.detach()  # a graph would be kept for as long as the rows
        if where is not None:
            kept = where.reshape(-1, *(1,) * (array.ndim - 1))
            values = torch.where(kept, values, array.index_select(0, rows))
        return array.index_copy_(0, rows, values)

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),  # updates are in place already
        use_slow_compiler: bool = False,
    ) -> Callable[..., Any]:
        # torch.compile takes seconds and a C++ compiler: it is for users to ask for
        plain = self._compiled(function) if use_slow_compiler else self._on_device(function)
        if not donate:
            return plain
        update = RepeatedUpdate(function, plain, self._moved, self.device, compiles=use_slow_compiler)

        def run(*args: Any) -> Any:
            return (update if isinstance(args[0], Learned) else plain)(*args)

        return without_denormals(run)

    def _on_device(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: function(*map(self._moved, args))

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = torch.compile(function, fullgraph=True)

        def on_device(*args: Any) -> Any:
            # a number would be a constant of the graph, and a new one another compilation
            numbers = (
                torch.tensor(arg, device=self.device) if isinstance(arg, float) else arg for arg in args
            )
            return compiled(*map(self._moved, numbers))

        return on_device

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        differentiated = torch.func.grad_and_value(partial(function, namespace), has_aux=True)

        def evaluate(params: Params, *args: Any) -> tuple[AnyArray, Any, Params]:
            if torch.compiler.is_compiling():  # torch.autograd.grad can't be traced
                grads, (loss, aux) = differentiated(params, *args)
                return loss, aux, grads
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            with torch.enable_grad():
                loss, aux = function(namespace, leaves, *args)
            grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
            return loss.detach(), _detached(aux), dict(zip(leaves, grads, strict=True))

        return evaluate

    def detach(self, array: AnyArray) -> torch.Tensor:
        return array.detach().to(self.device)

    def convolve(self, images: AnyArray, kernels: AnyArray, stride: int) -> torch.Tensor:
        channels_first = images.permute(0, 3, 1, 2)
        found = torch.conv2d(channels_first, kernels.permute(3, 2, 0, 1), stride=stride)
        return found.permute(0, 2, 3, 1)

    def optimizer(self, optimizer: Any = None, *, epsilon: float = 1e-8) -> Optimizer:
        return make_optimizer(optimizer, epsilon)

    def adopt(
        self,
        network: Any,
        inputs: Sequence[np.ndarray],  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Adopted:
        return adopt(network, self.device)

    def copier(self) -> Copier | None:
        """Return what copies batches to the device in the background; None where it is the host."""
        return Copier(self.device) if self.device.type == "cuda" else None

    def _moved(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.from_numpy(value)
        if isinstance(value, tuple):
            moved = map(self._moved, value)
            return type(value)(*moved) if hasattr(value, "_fields") else tuple(moved)
        return value


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
