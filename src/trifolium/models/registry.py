"""Models by name: those of the entry-point group ``trifolium.models``.

A package registers its model in its own pyproject.toml::

    [project.entry-points."trifolium.models"]
    qr_dqn = "my_package:QRDQN"

and ``trifolium train --model qr_dqn`` finds it. trifolium's own models are found in the same way.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from trifolium.models.base import BaseModel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "get_model", "model_names"]

GROUP = "trifolium.models"


def model_names() -> tuple[str, ...]:
    """Return the names of all installed models, without importing them.

    >>> [name for name in ("ddqn", "iqn", "random") if name in model_names()]
    ['ddqn', 'iqn', 'random']
    """
    return tuple(_registered())


def get_model(name: str) -> type[BaseModel]:
    """Return the class of the model that is registered as ``name``.

    Raises:
        ValueError: the name is unknown; the message lists the known names.
        TypeError: the registered object is not a model.

    >>> get_model("iqn").__name__
    'IQN'
    """
    points = _registered()
    if name not in points:
        from difflib import get_close_matches  # slow to import

        close = get_close_matches(name, points, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"model={name!r} is not known; known are: {', '.join(points)}{hint}")
    loaded: Any = points[name].load()
    if not (isinstance(loaded, type) and issubclass(loaded, BaseModel)):
        raise TypeError(
            f"model={name!r} is registered as {points[name].value}, which is {loaded!r:.80}; expected "
            "a subclass of trifolium.BaseModel"
        )
    return loaded


@cache
def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP))}
