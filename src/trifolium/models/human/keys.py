"""Keys: the keys and names that choose an action."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trifolium import _checks as checks

__all__ = ["Keys"]

PRESSED = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",  # the same keys, as a terminal in application mode sends them
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    " ": "space",
    "": "enter",
}
"""Names of keys that leave something else in the line, before the key that ends it."""


class Keys:
    """Maps a typed line to an action, and lists the accepted keys.

    Args:
        action_space: number of actions.
        names: names of the actions, in order; None if they have no names.
        keys: as for :class:`~trifolium.HumanModel`.

    Raises:
        TypeError, ValueError: names or keys don't fit the actions.

    >>> keys = Keys(2, ["left", "right"], "ad")
    >>> print(keys)
    0 or a: left, 1 or d: right; q to quit
    >>> keys.action("d"), keys.action("left"), keys.action("x"), keys.is_quit("quit")
    (1, 0, None, True)
    """

    def __init__(
        self,
        action_space: int,
        names: Sequence[str] | None = None,
        keys: Sequence[str] | Mapping[str, int | str] | None = None,
    ) -> None:
        self._action_space = action_space
        self._names = [] if names is None else _one_each("action_names", names, action_space)
        named = {name: action for action, name in enumerate(self._names) if name != "quit"}
        self._keys = dict(self._pairs(keys, named))
        numbered = {str(action): action for action in range(action_space)}
        self._actions = named | numbered | self._keys
        self._quits = {"quit", "q"} - self._actions.keys()
        hidden = set(range(action_space)) - set(self._actions.values())
        if hidden:
            raise ValueError(f"keys={keys!r} leaves nothing to type for the actions {sorted(hidden)}")

    def action(self, typed: str) -> int | None:
        """Return the action of a line, None if it has none.

        Case need not match, unless two actions differ by case alone.
        """
        key = _key(typed)
        if key in self._actions:
            return self._actions[key]
        meant = {action for each, action in self._actions.items() if each.lower() == key.lower()}
        return meant.pop() if len(meant) == 1 else None

    def is_quit(self, typed: str) -> bool:
        """Return whether a line without an action is a request to quit."""
        return _key(typed).lower() in self._quits

    def __str__(self) -> str:
        listed = ", ".join(map(self._described, range(self._action_space)))
        if not self._names and not self._keys and self._action_space > 2:
            listed = f"0 to {self._action_space - 1}"
        return f"{listed}; {min(self._quits)} to quit"

    def _described(self, action: int) -> str:
        typed = [key for key, value in self._actions.items() if value == action]
        if not self._names:
            return " or ".join(typed)
        name = self._names[action]
        return " or ".join(key for key in typed if key != name or key in self._keys) + f": {name}"

    def _pairs(self, keys: Any, named: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        if isinstance(keys, Mapping):
            for key, action in keys.items():
                yield _checked(key), self._checked_action(key, action, named)
        elif keys is not None:
            for action, key in enumerate(_one_each("keys", keys, self._action_space)):
                yield _checked(key), action

    def _checked_action(self, key: str, action: Any, named: Mapping[str, int]) -> int:
        if isinstance(action, str):
            if action not in named:
                raise ValueError(
                    f"keys[{key!r}]={action!r} is not one of action_names, which are {self._names}"
                )
            return named[action]
        number = checks.integer(f"keys[{key!r}]", action, 0)
        if number >= self._action_space:
            raise ValueError(
                f"keys[{key!r}]={number}; expected an action below action_space={self._action_space}"
            )
        return number


def _key(typed: str) -> str:
    return PRESSED.get(typed, typed.strip())


def _checked(key: Any) -> str:
    """Return ``key`` as the name of a key, or raise."""
    if not isinstance(key, str):
        raise TypeError(f"keys has {key!r}, a {type(key).__name__}; expected what is typed, as a str")
    found = _key(key)
    if not found or "\n" in found:
        raise ValueError(f"keys has {key!r}, which can't be typed in a line")
    if found.lower() == "quit":
        raise ValueError(f"keys has {key!r}, which ends the game; expected any other")
    return found


def _one_each(name: str, values: Any, action_space: int) -> list[str]:
    """Return ``values`` as a list of different strings, one for each action, or raise."""
    if not isinstance(values, Sequence) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name}={values!r}; expected a sequence of str")
    if len(values) != action_space or len(set(values)) != action_space:
        raise ValueError(
            f"{name}={values!r}; expected action_space={action_space} strings, all different"
        )
    return list(values)
