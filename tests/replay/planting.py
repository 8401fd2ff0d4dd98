"""Ways to plant a bug."""

from collections.abc import Callable
from typing import Any

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]


def constant(module: Any, name: str, value: Any = 0) -> Plant:
    return lambda patch: patch.setattr(module, name, value)


def changed(owner: Any, name: str, change: Callable[..., Any]) -> Plant:
    """Put ``change(original, *args)`` in the place of a function."""
    original = getattr(owner, name)

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, name, lambda *args, **kwargs: change(original, *args, **kwargs))

    return plant
