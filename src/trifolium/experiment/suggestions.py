"""Suggestions for mistyped names."""

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = ["nearest"]


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a suggestion of the nearest of the ``known`` names, or an empty string.

    >>> nearest("stepz", ["steps", "seed"])
    "; did you mean 'steps'?"
    """
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
