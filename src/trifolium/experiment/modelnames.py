"""The defaults of models' constructors, and the name of a custom model in the options."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

__all__ = ["OWN", "default_of", "parameters"]

OWN = "own"
"""The name of a custom model, which is passed to the experiment."""


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
    """Return the default of a parameter of a model's constructor, or of the memory that it makes.

    >>> from trifolium import IQN
    >>> default_of(IQN, "kappa")
    1.0
    """
    return parameters(owner)[name].default
