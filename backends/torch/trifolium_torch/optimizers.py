"""Optimizers of PyTorch as pure functions over a dict of tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim.adam import adam as torch_adam

from trifolium.backend import Optimizer, Params
from trifolium.models import adam, optimizers
from trifolium_torch import namespace
from trifolium_torch.recording import is_for_compiler, refuse_recording

__all__ = ["optimizer"]

ACCEPTS = "a class of torch.optim (or a functools.partial of one), "


def optimizer(wanted: Any, epsilon: float) -> Optimizer:
    """Return the functions of an optimizer; see :meth:`trifolium.Differentiable.optimizer`."""
    if wanted is None:
        return Optimizer(partial(adam.init, namespace), FusedAdam(epsilon).step)
    kind = wanted.func if isinstance(wanted, partial) else wanted
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        found = optimizers.optimizer(namespace, wanted, epsilon, accepts=ACCEPTS)
        return found._replace(step=torch.no_grad()(found.step))
    if isinstance(wanted, partial) and "lr" in wanted.keywords:
        raise TypeError(
            f"optimizer={wanted!r:.80} has lr={wanted.keywords['lr']}; give learning_rate= instead"
        )
    held = TorchOptimizer(wanted)
    return Optimizer(held.init, held.step, traceable=False)


class FusedAdam:
    """Adam by torch's fused kernel, in place."""

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon

    def step(
        self, params: Params, grads: Params, state: Params, learning_rate: Any
    ) -> tuple[Params, Params]:
        """Take one step."""
        if torch.compiler.is_compiling() or is_for_compiler():  # the compiler fuses it
            return adam.step(namespace, params, grads, state, learning_rate, self._epsilon)
        count = state["step"]
        torch_adam(
            list(params.values()),
            [grads[name].contiguous() for name in params],  # cuDNN's have another layout
            [state[f"mean.{name}"] for name in params],
            [state[f"square.{name}"] for name in params],
            [],
            [count, *count.repeat(len(params) - 1).unbind()],  # torch adds 1 to each
            fused=True,
            amsgrad=False,
            beta1=adam.BETA_1,
            beta2=adam.BETA_2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=self._epsilon,
            maximize=False,
        )
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
        """Return the state before the first step.

        Raises:
            TypeError: the optimizer can't be made, or can't step on such parameters.
        """
        copies = {name: value.clone() for name, value in params.items()}
        try:
            made = self._make(list(copies.values()), lr=1.0)
            state = copy.deepcopy(_state_of(made, copies))  # before a step that shows whether it can
            for value in copies.values():
                value.grad = torch.zeros_like(value)
            made.step()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"optimizer={self._make!r:.80} can't be used: {error}") from error
        return state

    def step(
        self, params: Params, grads: Params, state: dict[str, dict[str, Any]], learning_rate: Any
    ) -> tuple[Params, dict[str, dict[str, Any]]]:
        """Take one step in place."""
        refuse_recording("optimizer=")
        optimizer = self._holding(params, state)
        for group in optimizer.param_groups:
            group["lr"] = float(learning_rate)
        for name, value in params.items():
            value.grad = grads[name].contiguous()
        optimizer.step()
        optimizer.zero_grad()
        return params, _state_of(optimizer, params)

    def _holding(self, params: Params, state: dict[str, dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer of these tensors, in this state."""
        values = list(params.values())
        optimizer = self._optimizer
        if optimizer is None or any(a is not b for a, b in zip(self._params, values, strict=True)):
            optimizer = self._make(values, lr=1.0)
            self._params, self._optimizer = values, optimizer
        for name, value in params.items():
            optimizer.state[value] = state[name]
        return optimizer


def _state_of(optimizer: torch.optim.Optimizer, params: Params) -> dict[str, dict[str, Any]]:
    return {name: dict(optimizer.state.get(value, {})) for name, value in params.items()}
