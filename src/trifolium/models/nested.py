"""Arrays in nested dicts, tuples and lists, such as the state of an optimizer, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["leaves", "mapped"]


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, leaf) for each array or number in ``value``.

    A name joins keys, fields of named tuples and positions by dots. None holds no leaf.

    >>> list(leaves({"a": (1, [2, None]), "b": 3}))
    [('a.0', 1), ('a.1.0', 2), ('b', 3)]
    """
    items = _items(value)
    if items is None:
        yield name, value
    else:
        for key, item in items:
            yield from leaves(item, f"{name}.{key}" if name else key)


def mapped(function: Callable[[str, Any], Any], value: Any, name: str = "") -> Any:
    """Return ``value`` with ``function(name, leaf)`` in the place of each leaf.

    >>> mapped(lambda name, leaf: f"{name}={leaf}", {"a": (1, None)})
    {'a': ('a.0=1', None)}
    """
    items = _items(value)
    if items is None:
        return function(name, value)
    found = [mapped(function, item, f"{name}.{key}" if name else key) for key, item in items]
    if value is None:
        return None
    if isinstance(value, Mapping):
        return dict(zip(value, found, strict=True))
    if hasattr(value, "_fields"):
        return type(value)(*found)
    return type(value)(found)


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """Return what a container holds, by names; None for a leaf."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", map(str, range(len(value))))
        return list(zip(names, value, strict=True))
    return None
