"""JSON from files, of which a small text may not cost much memory."""

from typing import Any

__all__ = ["brief", "check_cost", "parse"]

DEEPEST = 64
"""Objects and arrays within each other, at most."""

ALLOWANCE = 1 << 24
"""Bytes of memory that any text may cost, besides twice its length."""

# bytes of memory that Python objects take, by the characters that make them
_COSTS = {"[": 96, "{": 240, ":": 100, ",": 9, '"': 26}
_LONG_NUMBER = 32  # of more than two characters: no number that Python holds already


def parse(text: str, allowance: int = ALLOWANCE) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or costs much more memory than its length.
    """
    import json  # imported here: most programs never read a file, and the import takes time

    check_cost(text, allowance)
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(f"its values are nested more than {DEEPEST} deep") from None
    _check_depth(found)
    return found


def check_cost(text: str, allowance: int = ALLOWANCE) -> None:
    """Raise ValueError if the values of a JSON text take much more memory than its length.

    The allowance is for numbers and names, of which a sound file has many too.
    """
    limit = 2 * len(text) + allowance
    if len(text) * max(_COSTS.values()) <= limit:
        return
    cost = sum(cost * text.count(character) for character, cost in _COSTS.items())
    if cost <= limit:
        import re

        longer = re.compile(r"[0-9.eE+-]{3,}")
        cost += _LONG_NUMBER * sum(1 for _ in longer.finditer(text))
    if cost > limit:
        raise ValueError(
            f"its {len(text)} characters make values of about {cost} bytes; expected at most {limit}"
        )


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"its values are nested more than {DEEPEST} deep")


def brief(value: Any) -> str:
    """Return the beginning of the repr of ``value``, without that of the whole, for an error message.

    >>> brief([0] * 10**6)
    '[0, 0, 0, 0, 0, 0, ...]'
    """
    from reprlib import repr as shortened

    return shortened(value)
