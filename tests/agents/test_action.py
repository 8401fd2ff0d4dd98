"""ActionSpec: names, values, and which spaces have them."""

import numpy as np
import pytest
from gymnasium import spaces

import trifolium as tri
from trifolium.agents import ActionSpec


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (spaces.Discrete(3), [0, 1, 2]),
        (spaces.Discrete(3, start=-1), [-1, 0, 1]),
        (spaces.MultiDiscrete([2, 3]), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]),
        (spaces.MultiDiscrete([2, 1], start=[0, 4]), [[0, 4], [1, 4]]),
        (spaces.MultiBinary(2), [[0, 0], [0, 1], [1, 0], [1, 1]]),
    ],
    ids=str,
)
def test_actions_are_counted_from_0_and_worlds_get_their_values(space, values):
    spec = ActionSpec.from_space(space)
    assert spec.n == len(values)
    for action, value in enumerate(values):
        assert np.array_equal(spec.value(action), value)
        assert space.contains(spec.value(action))
        assert spec.index(spec.name(action)) == action
    assert spec.values(np.array([1, 0])).tolist() == [values[1], values[0]]


def test_a_value_is_a_copy():
    spec = ActionSpec.from_space(spaces.MultiBinary(2))
    spec.value(0)[:] = 1
    assert spec.value(0).tolist() == [0, 0]


def test_actions_have_names():
    spec = ActionSpec.from_space(spaces.Discrete(2), names=["left", "right"])
    assert spec.names == ("left", "right")
    assert ActionSpec(2).names == ("0", "1")


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1, 1, (2,)), spaces.Tuple((spaces.Discrete(2),)), spaces.MultiBinary((2, 2))],
    ids=str,
)
def test_other_spaces_are_refused_and_those_that_work_are_named(space):
    with pytest.raises(tri.WorldError, match=r"expected Discrete, or a MultiDiscrete or MultiBinary"):
        ActionSpec.from_space(space)


def test_too_many_combinations_are_refused():
    with pytest.raises(tri.WorldError, match="has 2048 combinations of actions; expected at most 1024"):
        ActionSpec.from_space(spaces.MultiBinary(11))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ActionSpec("left"), TypeError, "names='left' is one string"),
        (lambda: ActionSpec([]), ValueError, "expected one or more names"),
        (lambda: ActionSpec(["a", "a"]), ValueError, "all different"),
        (lambda: ActionSpec(2.5), TypeError, "names=2.5 is a float"),
        (lambda: ActionSpec(["a", "b"], [1]), ValueError, "1 values; expected one for each of 2"),
        (lambda: ActionSpec(2).name(2), ValueError, "action=2 does not exist; expected 0 to 1"),
        (lambda: ActionSpec(2).value(-1), ValueError, "action=-1 is too small"),
        (
            lambda: ActionSpec(2).index("up"),
            ValueError,
            "name='up' is not an action; expected one of: 0, 1",
        ),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
