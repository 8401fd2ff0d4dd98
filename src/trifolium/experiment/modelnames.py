"""The registry of models by name, and the defaults of their constructors."""

import inspect
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from trifolium.models import DDQN, IQN, BaseModel, RandomModel

__all__ = ["GROUP", "OWN", "default_of", "model_class", "model_names", "parameters"]

GROUP = "trifolium.models"

OWN = "own"
"""The name of a model that is given to the experiment."""

_BUILT_IN: Mapping[str, type[BaseModel]] = {"ddqn": DDQN, "iqn": IQN, "random": RandomModel}


def model_names() -> list[str]:
    """Return the names of all models that an experiment can make.

    >>> model_names()[:3]
    ['ddqn', 'iqn', 'random']
    """
    return [*_BUILT_IN, *(name for name in _registered() if name not in _BUILT_IN)]


def model_class(name: str) -> type[BaseModel]:
    """Return the class of the model ``name``.

    Raises:
        TypeError: what is registered is not a subclass of BaseModel.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    found = _registered()[name].load()
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise TypeError(
            f"{_registered()[name].value!r}, registered in {GROUP!r} as {name!r}, is not a subclass of "
            "BaseModel"
        )
    return found


@cache
def parameters(owner: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a constructor by name; those of a base class that it passes on too."""
    found: dict[str, inspect.Parameter] = {}
    for cls in owner.__mro__:
        if "__init__" not in vars(cls):
            continue
        own = inspect.signature(vars(cls)["__init__"]).parameters
        kinds = {each.kind for each in own.values()}
        found = {name: each for name, each in own.items() if name not in found} | found
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found


def default_of(owner: type, name: str) -> Any:
    """Return the default of a parameter of a constructor.

    >>> default_of(IQN, "kappa")
    1.0
    """
    return parameters(owner)[name].default


@cache
def _registered() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP))}
