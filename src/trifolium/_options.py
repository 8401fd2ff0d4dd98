"""Names of a constructor's options, and suggestions for wrong ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, Self

__all__ = ["NamedOptions", "accepted_names", "check_names"]


class NamedOptions:
    """Base class of classes whose constructors suggest a name for an unknown option.

    It is a base class, so that the signature that tools show is that of ``__init__``.

    Attributes:
        other_names: the names of options by their names in other libraries.
    """

    other_names: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args: Any, **options: Any) -> Self:  # noqa: ARG004 (those of __init__)
        kind: Any = cls
        accepted, takes_more = accepted_names(kind)
        if not takes_more:
            check_names(cls, options, accepted, cls.other_names)
        return super().__new__(cls)


@cache
def accepted_names(cls: type) -> tuple[tuple[str, ...], bool]:
    """Return the names of the arguments that ``cls(...)`` takes, and whether it takes all others too.

    A constructor with ``**options`` passes them on, so the arguments of the next constructor in the
    order of inheritance count too.
    """
    import inspect  # slow to import

    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names: list[str] = []
    for base in cls.__mro__:
        if "__init__" not in base.__dict__ or base is object:
            continue
        parameters = inspect.signature(base.__dict__["__init__"]).parameters.values()
        names += [each.name for each in parameters if each.kind in named and each.name != "self"]
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            return tuple(dict.fromkeys(names)), False
    return tuple(dict.fromkeys(names)), True


def check_names(
    cls: type, given: Iterable[str], accepted: tuple[str, ...], other_names: Mapping[str, str]
) -> None:
    """Raise TypeError if one of the ``given`` names is not accepted; the message suggests another.

    Args:
        cls: the class that has the options.
        given: names that were given.
        accepted: names of its options.
        other_names: the names of its options by their names in other libraries.
    """
    for name in given:
        if name not in accepted:
            hint = _hint(name, accepted, other_names)
            raise TypeError(f"{cls.__name__} has no option {name!r}; {hint}")


def _hint(name: str, accepted: tuple[str, ...], other_names: Mapping[str, str]) -> str:
    from difflib import get_close_matches  # slow to import

    known = other_names.get(name.lower())
    close = [known] if known in accepted else get_close_matches(name, accepted, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(accepted)}"
