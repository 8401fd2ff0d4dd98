"""Options of learners in files: schedules in JSON, and options that cannot be saved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trifolium.schedules import Linear

__all__ = ["from_json", "is_missing", "required", "to_json"]

_MISSING, _LINEAR = "of your own", "linear"


def to_json(value: Any) -> dict[str, Any]:
    """Return a schedule or a network in JSON's types: its repr if JSON can't represent it."""
    return {_LINEAR: asdict(value)} if isinstance(value, Linear) else {_MISSING: repr(value)}


def from_json(value: Any) -> Any:
    """Return the Linear schedule that :func:`to_json` converted; other values as they are."""
    return Linear(**value[_LINEAR]) if isinstance(value, dict) and _LINEAR in value else value


def is_missing(value: Any) -> bool:
    """Return whether ``value`` is the placeholder of an option that JSON can't represent."""
    return isinstance(value, dict) and _MISSING in value


def required(path: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` with their schedules; ValueError if one is missing from the file."""
    for name, value in options.items():
        if is_missing(value):
            raise ValueError(f"{path} was saved with {name}={value[_MISSING]}; give {name}= again")
    return {name: from_json(value) for name, value in options.items()}
