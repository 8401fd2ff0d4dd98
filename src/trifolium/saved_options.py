"""Options of learners in files: schedules in JSON, and options that no file can hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trifolium.schedules import Linear

__all__ = ["from_json", "is_missing", "required", "to_json"]

_MISSING, _LINEAR = "of your own", "linear"


def to_json(value: Any) -> dict[str, Any]:
    """Return a schedule or a network in JSON's types: the repr of one that JSON can't hold."""
    return {_LINEAR: asdict(value)} if isinstance(value, Linear) else {_MISSING: repr(value)}


def from_json(value: Any) -> Any:
    """Return what :func:`to_json` was given, if it was a Linear; other values as they are."""
    return Linear(**value[_LINEAR]) if isinstance(value, dict) and _LINEAR in value else value


def is_missing(value: Any) -> bool:
    """Return whether ``value`` stands for an option that JSON can't hold."""
    return isinstance(value, dict) and _MISSING in value


def required(path: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` with their schedules, or raise ValueError if one has to be given again."""
    for name, value in options.items():
        if is_missing(value):
            raise ValueError(f"{path} was saved with {name}={value[_MISSING]}; give {name}= again")
    return {name: from_json(value) for name, value in options.items()}
