"""Options of learners in files: schedules in JSON, and options that cannot be saved."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from trifolium._json import brief
from trifolium.errors import CheckpointError, TrifoliumError
from trifolium.schedules import Linear

__all__ = ["blamed_on_file", "check_schedule", "from_json", "is_missing", "required", "to_json"]

LONGEST = 1 << 53
"""Steps of a schedule in a file, at most: floats are exact up to there."""

_MISSING, _LINEAR = "of your own", "linear"


def to_json(value: Any) -> dict[str, Any]:
    """Return a schedule or a network in JSON's types: its repr if JSON can't represent it."""
    return {_LINEAR: asdict(value)} if isinstance(value, Linear) else {_MISSING: repr(value)}


def from_json(value: Any) -> Any:
    """Return the Linear schedule that :func:`to_json` converted; other values as they are.

    Raises:
        TypeError, ValueError: it is no schedule.
    """
    if not isinstance(value, dict) or _LINEAR not in value:
        return value
    found = Linear(**value[_LINEAR])
    for name in ("start", "end"):
        number = getattr(found, name)
        if type(number) not in (int, float) or not math.isfinite(number):
            raise ValueError(f"{name}={brief(number)} of a schedule; expected a finite number")
    if type(found.steps) is not int or found.steps > LONGEST:
        raise ValueError(f"steps={brief(found.steps)} of a schedule; expected {LONGEST} at most")
    return found


def check_schedule(check: Callable[[str, Any], float], name: str, value: Any) -> None:
    """Raise an error unless a number from a file, or both ends of a schedule, pass ``check``."""
    if isinstance(value, Linear):
        check(f"{name} at the start", value.start)
        if value.end != 0.0:
            check(f"{name} at the end", value.end)
    elif type(value) not in (int, float):
        raise TypeError(f"{name}={brief(value)}; expected a number, or a schedule")
    else:
        check(name, value)


def is_missing(value: Any) -> bool:
    """Return whether ``value`` is the placeholder of an option that JSON can't represent."""
    return isinstance(value, dict) and _MISSING in value


@contextmanager
def blamed_on_file(path: str | os.PathLike[str], changes: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors about options into a CheckpointError, unless they name one of ``changes``."""
    try:
        yield
    except TrifoliumError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError) as error:
        if any(name in str(error) for name in changes):
            raise
        raise CheckpointError(f"{path} holds options of no such model: {error!s:.500}") from error


def required(path: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` with their schedules; ValueError if one is missing from the file."""
    for name, value in options.items():
        if is_missing(value):
            raise ValueError(f"{path} was saved with {name}={value[_MISSING]}; give {name}= again")
    return {name: from_json(value) for name, value in options.items()}
