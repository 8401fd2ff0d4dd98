"""Records the operations of an update, and repeats them without the Python code that led to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import fx

from trifolium_torch.shortening import shorten

__all__ = [
    "Program",
    "Unrecordable",
    "is_for_compiler",
    "leaves",
    "rebuilt",
    "record",
    "refuse_recording",
]

_THREAD = threading.local()


class Unrecordable(Exception):
    """A function can't be recorded: it does more than compute with the tensors that it is given."""


class Program(NamedTuple):
    """The operations of a function on tensors of certain shapes.

    Attributes:
        graph: takes the leaves of the arguments, returns those of the results, without those of the
            first result if ``is_in_place``.
        results: results of the function, of which only the structure counts.
        is_in_place: whether the first result is the first argument, with other values.
    """

    graph: fx.GraphModule
    results: tuple[Any, ...]
    is_in_place: bool


def refuse_recording(what: str) -> None:
    """Raise :class:`Unrecordable` if this thread is recording.

    To be called by code that may do anything, such as that of a user's module.
    """
    if getattr(_THREAD, "purpose", None):
        raise Unrecordable(f"{what} may do more than compute with tensors")


def is_for_compiler() -> bool:
    """Return whether this thread is recording for a compiler, which fuses small operations."""
    return getattr(_THREAD, "purpose", None) == "compile"


def record(function: Callable[..., Any], args: tuple[Any, ...], *, for_compiler: bool) -> Program:
    """Return what ``function`` does with tensors of the shapes of those in ``args``.

    The function is called once. It may change the first of ``args`` in place, of which it gets a copy.

    Args:
        function: returns a tuple, whose first item has the structure of the first argument.
        args: nested tuples, lists and dicts of tensors.
        for_compiler: whether the operations are to be compiled; the first result is then copied into
            the first argument.

    Raises:
        Unrecordable: it can't be recorded, for whatever reason.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second to import

    held = leaves(args[0])
    given = [each.clone() for each in held] + leaves(args[1:])
    results: tuple[Any, ...] = ()

    def flat(*tensors: torch.Tensor) -> list[torch.Tensor]:
        nonlocal results
        results = function(*rebuilt(args, iter(tensors)))
        found = leaves(results)
        if not for_compiler:
            return found
        for old, new in zip(tensors, found[: len(held)], strict=False):
            if old is not new:
                old.copy_(new)
        return found[len(held) :]

    _THREAD.purpose = "compile" if for_compiler else "repeat"
    try:
        graph = make_fx(torch.no_grad()(flat))(*given)
    except Exception as error:
        raise Unrecordable(f"{type(error).__name__}: {error}") from error
    finally:
        _THREAD.purpose = None
    if for_compiler:
        return Program(graph, results, is_in_place=True)
    is_in_place = _returns_only_the_rest(graph, len(held))
    shorten(graph)
    return Program(graph, results, is_in_place)


def leaves(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested tuples, lists and dicts.

    Raises:
        Unrecordable: there is something else in them, other than None.
    """
    found: list[torch.Tensor] = []
    _collect(value, found)
    return found


def rebuilt(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """Return ``value`` with the next of ``tensors`` in the place of each tensor."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, dict):
        found = {name: rebuilt(value[name], tensors) for name in sorted(value)}
        return {name: found[name] for name in value}
    if isinstance(value, tuple | list):
        items = [rebuilt(each, tensors) for each in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _collect(value: Any, found: list[torch.Tensor]) -> None:
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif isinstance(value, dict):
        for name in sorted(value):  # results may have another order than arguments
            _collect(value[name], found)
    elif isinstance(value, tuple | list):
        for each in value:
            _collect(each, found)
    elif value is not None:
        raise Unrecordable(f"a {type(value).__name__} is no tensor")


def _returns_only_the_rest(graph: fx.GraphModule, count: int) -> bool:
    """Drop the first ``count`` results if they are the first arguments; return whether they are."""
    *_, output = graph.graph.nodes
    arguments = [node for node in graph.graph.nodes if node.op == "placeholder"]
    results = output.args[0]
    if list(results[:count]) != arguments[:count]:
        return False
    output.args = (results[count:],)
    graph.recompile()
    return True
