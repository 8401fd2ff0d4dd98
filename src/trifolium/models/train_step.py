"""Wrap the train_step of a class, so that it returns losses of one type."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from trifolium.backend import AnyArray
from trifolium.models.loss_value import normalised_loss

__all__ = ["NO_LOSS", "normalise_train_step", "normalising"]

NO_LOSS = object()
"""The last loss of a model before its first one; no train_step can return it."""


def normalising(train_step: Any) -> Callable[..., AnyArray]:
    """Return a train_step that converts the result of ``train_step`` to one type.

    Args:
        train_step: a function of the model, or any other descriptor or callable of a class.
    """
    is_function = inspect.isfunction(train_step)
    bind = getattr(type(train_step), "__get__", None)

    @wraps(train_step)
    def normalised(self: Any, *args: Any, **kwargs: Any) -> AnyArray:
        if is_function:  # some versions of torch.compile can't follow the __get__ of a function
            loss = train_step(self, *args, **kwargs)
        else:
            bound = bind(train_step, self, type(self)) if bind else train_step
            loss = bound(*args, **kwargs)
        if (
            loss is not self._loss
        ):  # else it is the result of super().train_step(), whose names are kept
            self._loss, self.loss_names = normalised_loss(loss, self.backend)
        return self._loss

    normalised._normalises = normalised  # type: ignore[attr-defined]
    return normalised


def normalise_train_step(cls: Any) -> None:
    """Wrap the train_step of ``cls``, also an inherited one, so that it converts losses."""
    train_step = inspect.getattr_static(cls, "train_step")
    if getattr(train_step, "_normalises", None) is not train_step:  # a decorator may have copied it
        cls.train_step = normalising(train_step)
