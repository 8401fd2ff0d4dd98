"""Optimizers of PyTorch as pure functions over a dict of tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import array_api_compat.torch as xp
import torch
from torch.optim.adam import adam as torch_adam

from trifolium.backend import Optimizer, Params
from trifolium.models import adam, optimizers

__all__ = ["optimizer"]

ACCEPTS = "a class of torch.optim (or a functools.partial of one), "


def optimizer(wanted: Any, epsilon: float) -> Optimizer:
    """Return the functions of an optimizer; see :meth:`trifolium.Differentiable.optimizer`."""
    if wanted is None:
        return Optimizer(partial(adam.init, xp), partial(_fused_adam, epsilon=epsilon))
    kind = wanted.func if isinstance(wanted, partial) else wanted
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        found = optimizers.optimizer(xp, wanted, epsilon, accepts=ACCEPTS)
        return found._replace(step=torch.no_grad()(found.step))
    if isinstance(wanted, partial) and "lr" in wanted.keywords:
        raise TypeError(
            f"optimizer={wanted!r:.80} has lr={wanted.keywords['lr']}; give learning_rate= instead"
        )
    held = TorchOptimizer(wanted)
    return Optimizer(held.init, held.step, traceable=False)


def _fused_adam(
    params: Params, grads: Params, state: Params, learning_rate: Any, *, epsilon: float
) -> tuple[Params, Params]:
    """Take one step of Adam in place, by torch's fused kernel."""
    if torch.compiler.is_compiling():  # the compiler fuses it
        return adam.step(xp, params, grads, state, learning_rate, epsilon)
    names = list(params)
    steps = state["step"].repeat(len(names)).unbind()  # torch adds 1 to each of them
    torch_adam(
        list(params.values()),
        [grads[name] for name in names],
        [state[f"mean.{name}"] for name in names],
        [state[f"square.{name}"] for name in names],
        [],
        list(steps),
        fused=True,
        amsgrad=False,
        beta1=adam.BETA_1,
        beta2=adam.BETA_2,
        lr=float(learning_rate),
        weight_decay=0.0,
        eps=epsilon,
        maximize=False,
    )
    state["step"] = steps[0]
    return params, state


class TorchOptimizer:
    """A ``torch.optim`` class as pure functions: an optimizer is made for each set of parameters.

    The state is a dict from each parameter's name to what the optimizer holds for it, tensors and
    numbers. Many optimizers hold nothing before their first step.

    Args:
        make: called with (parameters, lr=), returns a ``torch.optim.Optimizer``.
    """

    def __init__(self, make: Callable[..., torch.optim.Optimizer]) -> None:
        self._make = make
        self._params: list[torch.Tensor] = []
        self._optimizer: torch.optim.Optimizer | None = None

    def init(self, params: Params) -> dict[str, dict[str, Any]]:
        """Return the state before the first step."""
        return _state_of(self._make(list(params.values()), lr=0.0), params)

    def step(
        self, params: Params, grads: Params, state: dict[str, dict[str, Any]], learning_rate: Any
    ) -> tuple[Params, dict[str, dict[str, Any]]]:
        """Take one step in place."""
        optimizer = self._holding(params, state)
        for group in optimizer.param_groups:
            group["lr"] = float(learning_rate)
        for name, value in params.items():
            value.grad = grads[name]
        optimizer.step()
        optimizer.zero_grad()
        return params, _state_of(optimizer, params)

    def _holding(self, params: Params, state: dict[str, dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer of these tensors, in this state."""
        values = list(params.values())
        optimizer = self._optimizer
        if optimizer is None or any(a is not b for a, b in zip(self._params, values, strict=True)):
            optimizer = self._make(values, lr=0.0)
            self._params, self._optimizer = values, optimizer
        for name, value in params.items():
            optimizer.state[value] = state[name]
        return optimizer


def _state_of(optimizer: torch.optim.Optimizer, params: Params) -> dict[str, dict[str, Any]]:
    return {name: optimizer.state.get(value, {}) for name, value in params.items()}
