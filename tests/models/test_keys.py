"""Keys: which actions they stand for, and which are refused."""

import numpy as np
import pytest

from trifolium.models.human.keys import PRESSED, Keys

from .person import person, said

ACTIONS = {
    "a number": ("2\n", {}, 2),
    "a number with blanks": ("  1 \n", {}, 1),
    "a key of a string": ("d\n", {"keys": "asd"}, 2),
    "a key in upper case": ("D\n", {"keys": "asd"}, 2),
    "two keys that differ by case": ("D\n", {"keys": "dDx"}, 1),
    "a key of a mapping": ("fire\n", {"keys": {"fire": 1}}, 1),
    "a number beside keys": ("2\n", {"keys": "asd"}, 2),
    "a key that is a number": ("1\n", {"keys": ["1", "2", "3"]}, 0),
    "a name": ("right\n", {"action_names": ["stay", "left", "right"]}, 2),
    "a key that stands for a name": (
        "d\n",
        {"action_names": ["stay", "left", "right"], "keys": {"d": "right"}},
        2,
    ),
    "an arrow": ("\x1b[C\n", {"keys": {"left": 1, "right": 2}}, 2),
    "an arrow in application mode": ("\x1bOD\n", {"keys": {"left": 1, "right": 2}}, 1),
    "an arrow, given as it is sent": ("\x1b[A\n", {"keys": {"\x1b[A": 2}}, 2),
    "an arrow in words": ("left\n", {"keys": {"left": 1}}, 1),
    "an arrow that names an action": ("\x1b[D\n", {"action_names": ["left", "right", "up"]}, 0),
    "the space bar": (" \n", {"keys": {"space": 1}}, 1),
    "an empty line": ("\n", {"keys": {"enter": 1}}, 1),
    "q as a key": ("q\n", {"keys": {"q": 1}}, 1),
    "a last line without an end": ("2", {}, 2),
    "the end of a line on Windows": ("2\r\n", {}, 2),
}


@pytest.mark.parametrize(("typed", "options", "action"), ACTIONS.values(), ids=ACTIONS)
def test_action_that_is_typed(typed, options, action):
    model = person(typed, **options)
    assert model.take_action(np.zeros(4)) == action
    assert "no action" not in said(model)


MENUS = [
    ({}, "0 to 2; q to quit"),
    ({"action_space": 2}, "0, 1; q to quit"),
    ({"action_space": 18}, "0 to 17; q to quit"),
    ({"keys": "asd"}, "0 or a, 1 or s, 2 or d; q to quit"),
    ({"keys": {"a": 0, "left": 0}}, "0 or a or left, 1, 2; q to quit"),
    ({"action_names": ["stay", "left", "right"]}, "0: stay, 1: left, 2: right; q to quit"),
    ({"keys": ["1", "2", "3"]}, "0 or 1, 2, 3; q to quit"),
]


@pytest.mark.parametrize(("options", "menu"), MENUS)
def test_keys_are_listed(options, menu):
    model = person("0\n", **options)
    model.take_action(np.zeros(4))
    assert f"\n{menu}\n" in said(model)


def test_every_key_that_is_pressed_has_a_name_that_can_be_typed():
    for pressed, name in PRESSED.items():
        assert person(f"{pressed}\n{name}\n", keys={name: 1}).take_action(np.zeros(4)) == 1


BAD_OPTIONS = {
    "too few names": ({"action_names": ["stay", "left"]}, ValueError, ["action_names", "3"]),
    "the same name twice": (
        {"action_names": ["a", "a", "b"]},
        ValueError,
        ["action_names", "different"],
    ),
    "names that are numbers": ({"action_names": [1, 2, 3]}, TypeError, ["action_names", "str"]),
    "too few keys": ({"keys": "ad"}, ValueError, ["keys", "'ad'", "3"]),
    "the same key twice": ({"keys": "aab"}, ValueError, ["keys", "different"]),
    "keys of no kind": ({"keys": 3}, TypeError, ["keys", "3"]),
    "a key that is no text": ({"keys": {1: 0}}, TypeError, ["keys", "1", "int"]),
    "a key that can't be typed": ({"keys": {"a\nb": 0}}, ValueError, ["keys", "typed"]),
    "quit as a key": ({"keys": {"quit": 0}}, ValueError, ["keys", "quit"]),
    "an action there is not": ({"keys": {"a": 3}}, ValueError, ["keys['a']", "3", "action_space=3"]),
    "a negative action": ({"keys": {"a": -1}}, ValueError, ["keys['a']", "-1"]),
    "an action of no kind": ({"keys": {"a": 0.5}}, TypeError, ["keys['a']", "0.5", "float"]),
    "a name there is not": ({"keys": {"a": "up"}}, ValueError, ["keys['a']", "'up'", "action_names"]),
    "an action out of reach": ({"keys": {"1": 0}}, ValueError, ["keys", "[1]"]),
    "a way of drawing": ({"draw": "oil"}, ValueError, ["draw", "'oil'", "window"]),
    "a view that is no function": ({"view": 3}, TypeError, ["view", "3", "function"]),
    "an input that is no stream": ({"input": "1\n"}, TypeError, ["input", "str", "text stream"]),
    "an output that is no stream": ({"output": 3}, TypeError, ["output", "int", "text stream"]),
    "a typo": ({"action_name": []}, TypeError, ["action_name"]),
}


@pytest.mark.parametrize(("options", "error", "names"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_options_are_named(options, error, names):
    with pytest.raises(error) as caught:
        person("", **options)
    for name in names:
        assert name in str(caught.value)


def test_case_of_a_name_need_not_match():
    keys = Keys(3, ["Left", "RIGHT", "jump"], {"X": "jump"})
    for typed, action in (("left", 0), ("LEFT", 0), ("right", 1), ("Jump", 2), ("x", 2)):
        assert keys.action(typed) == action
    assert Keys(2, ["a", "A"]).action("A") == 1
    assert Keys(2, ["Aa", "aA"]).action("aa") is None
