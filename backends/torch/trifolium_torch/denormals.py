"""Computes with denormal numbers as 0, as XLA and GPUs do."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

__all__ = ["without_denormals"]

_SMALLEST, _ONE = 5e-324, 1.0


def without_denormals(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with denormal numbers taken as 0 on the host, in the thread of the call.

    Processors are slow with them. Adam's moments of units that are never active are such numbers after
    some hundred updates, and stay so.
    """

    @wraps(function)
    def run(*args: Any) -> Any:
        if _SMALLEST * _ONE == 0.0:  # they are 0 already: it is the user's setting
            return function(*args)
        torch.set_flush_denormal(True)
        try:
            return function(*args)
        finally:
            torch.set_flush_denormal(False)

    return run
