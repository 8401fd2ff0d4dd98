"""The registry of kinds of worlds, found through entry points."""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from trifolium.experiment.kinds.gymnasium import GymnasiumKind
from trifolium.experiment.kinds.kind import WorldKind
from trifolium.experiment.kinds.own import OwnKind
from trifolium.experiment.kinds.pettingzoo import PettingZooKind

__all__ = ["GROUP", "kind_named", "kind_of", "kinds"]

GROUP = "trifolium.worlds"
DEFAULT = "gymnasium"
"""The kind of a name without a registered prefix."""


@cache
def kinds() -> Mapping[str, EntryPoint]:
    """Return the registered kinds by their prefix; nothing is loaded.

    >>> "gymnasium" in kinds()
    True
    """
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def kind_named(env: str) -> tuple[WorldKind, str]:
    """Return the kind of the world ``env``, and its name there.

    Raises:
        ModuleNotFoundError: a package that the kind needs is not installed.
        TypeError: the registered object is not a kind of worlds.

    >>> kind, name = kind_named("pettingzoo:classic/rps-v2")
    >>> type(kind).__name__, name
    ('PettingZooKind', 'classic/rps-v2')
    """
    prefix, colon, name = env.partition(":")
    if colon and prefix in kinds():
        return _loaded(prefix), name
    return _loaded(DEFAULT) if DEFAULT in kinds() else GymnasiumKind(), env


def kind_of(made: Any, turns: int | None = None) -> tuple[WorldKind, Any]:
    """Return the kind of a user's own world, and the world in the form that this kind drives.

    Kinds whose module is not loaded are not asked: an object of such a kind can't exist yet.

    Raises:
        TypeError: it is a world of no kind.
    """
    known = {type(kind): kind for kind in (*_ready(), GymnasiumKind(), PettingZooKind(), OwnKind())}
    for kind in known.values():
        world = kind.adopt(made, turns)
        if world is not None:
            return kind, world
    raise TypeError(
        f"world makes a {type(made).__name__}; expected an environment of Gymnasium or PettingZoo, "
        "an object with the methods reset, turn and act, or a world of a registered kind: "
        f"{', '.join(kinds())}"
    )


def _ready() -> list[WorldKind]:
    """Return the kinds whose modules are loaded."""
    return [_loaded(name) for name, point in kinds().items() if point.module in sys.modules]


@cache
def _loaded(name: str) -> WorldKind:
    kind = kinds()[name].load()()
    if not isinstance(kind, WorldKind):
        raise TypeError(
            f"{kinds()[name].value!r}, registered in {GROUP!r} as {name!r}, makes a "
            f"{type(kind).__name__}; expected a WorldKind"
        )
    return kind
