"""ObservationSpec: what each space becomes."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

import trifolium as tri
from trifolium.agents import Flat, Image, Joined, ObservationSpec, OneHot, Passthrough


class Mission(gym.Space):
    """Text as MiniGrid has it: a space of its own."""

    def __init__(self):
        super().__init__((), str)

    def sample(self, mask=None, probability=None):
        return "go to the green door"


GRID = spaces.MultiDiscrete(np.array([[2, 3], [2, 2]]), start=np.array([[0, 1], [5, 0]]))
NESTED = spaces.Dict(
    {
        "z": spaces.Discrete(3),
        "a": spaces.Tuple((spaces.MultiBinary(2), spaces.Box(0, 9, (2, 2), np.float64))),
        "mission": spaces.Text(20),
    }
)
CASES = [  # space, one observation of it, the array
    (spaces.Box(-1, 1, (3,), np.float64), [0.5, 0.25, -1.0], [0.5, 0.25, -1.0]),
    (spaces.Box(0, 9, (2, 2), np.int64), np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (spaces.Box(0, 9, (), np.float32), np.float32(4), [4]),
    (spaces.Discrete(3), 1, [0, 1, 0]),
    (spaces.Discrete(3, start=-1), np.int64(-1), [1, 0, 0]),
    (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
    (GRID, np.array([[1, 3], [5, 0]]), [0, 1, 0, 0, 1, 1, 0, 1, 0]),
    (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
    (spaces.MultiBinary((2, 2)), np.array([[1, 0], [0, 1]], np.int8), [1, 0, 0, 1]),
    (spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 9, (1,)))), (1, np.array([7.0])), [0, 1, 7]),
    (
        NESTED,
        {"z": 2, "a": (np.array([0, 1], np.int8), np.array([[1.0, 2], [3, 4]])), "mission": "go"},
        [0, 1, 1, 2, 3, 4, 0, 0, 1],  # Dict sorts its keys
    ),
    (
        spaces.Dict({"direction": spaces.Discrete(4), "mission": Mission()}),
        {"direction": 3, "mission": "go"},
        [0, 0, 0, 1],
    ),
]


@pytest.mark.parametrize(("space", "observation", "expected"), CASES, ids=lambda case: str(case)[:40])
def test_a_space_has_its_array(space, observation, expected):
    spec = ObservationSpec.from_space(space)
    found = spec.observe(observation)
    assert found.tolist() == expected
    assert found.shape == spec.shape
    assert found.dtype == spec.dtype == "float32"


SAMPLED = [
    *(space for space, _, _ in CASES),
    spaces.Box(0, 255, (8, 8, 3), np.uint8),
    spaces.Box(0, 255, (4,), np.uint8),
]


@pytest.mark.parametrize("space", SAMPLED, ids=lambda space: str(space)[:40])
def test_a_batch_is_what_each_of_it_is(space):
    if "mission" in getattr(space, "spaces", ()):
        space = spaces.Dict({k: part for k, part in space.items() if k != "mission"})
    spec = ObservationSpec.from_space(space)
    batched = batch_space(space, 5)
    batched.seed(3)
    for _ in range(5):
        batch = batched.sample()
        each = [spec.observe(one) for one in gym.vector.utils.iterate(batched, batch)]
        found = spec.observe_each(batch, 5)
        assert found.dtype == spec.dtype
        assert np.array_equal(found, each)


def test_pictures_stay_bytes():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    spec = ObservationSpec.from_space(spaces.Box(0, 255, (2, 4, 3), np.uint8))
    assert isinstance(spec, Image)
    assert spec.dtype == "uint8"
    assert np.array_equal(spec.observe(picture), picture)
    assert Image((2, 4)).observe(picture[:, :, 0]).shape == (2, 4, 1)
    assert Image((2, 4)).observe_each(picture[None, :, :, 0], 1).shape == (1, 2, 4, 1)
    memory = ObservationSpec.from_space(spaces.Box(0, 255, (128,), np.uint8))
    assert (memory.shape, memory.dtype) == ((128,), "uint8")


def test_a_model_and_its_memory_take_what_a_spec_gives(backend):
    spec = ObservationSpec.from_space(spaces.Box(0, 255, (4, 4, 3), np.uint8))
    model = tri.RandomModel(spec.shape, 2, 10, backend=backend, obs_dtype=spec.dtype)
    for _ in range(3):
        model.memory.add(spec.observe(np.full((4, 4, 3), 7, np.uint8)), 0, 0.0, False)
    assert np.all(tri.backend.as_numpy(model.memory.sample(1).states) == 7)


def test_what_comes_out_is_a_copy():
    for spec, seen in [
        (Passthrough((2,)), np.zeros(2, np.float32)),
        (Flat((2, 1)), np.zeros((2, 1), np.float32)),
        (Image((1, 2)), np.zeros((1, 2), np.uint8)),
        (Joined([Flat((2,))]), np.zeros((1, 2), np.float32)),
    ]:
        for found in (spec.observe(seen), spec.observe_each(seen[None], 1) if len(seen) == 2 else None):
            seen[:] = 1
            assert found is None or not found.any()
            seen[:] = 0


def test_a_grid_of_cells():
    grid = np.array([[[1, 0], [0, 2]]])  # one row of two cells, each an object and a colour
    spec = OneHot((2, 3), shape=(1, 2, 2))
    assert spec.observe(grid).tolist() == [[[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]]
    assert OneHot(3, shape=(1, 2)).observe([[2, 0]]).tolist() == [[[0, 0, 1], [1, 0, 0]]]


def test_a_spec_of_ones_own():
    class Distance(ObservationSpec):
        def __init__(self):
            super().__init__(1)

        def observe(self, observation):
            return np.array([np.hypot(*observation)], np.float32)

    assert Distance().observe_each([(3, 4), (0, 1)], 2).tolist() == [[5], [1]]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Text(5), "no array of a fixed shape; expected Box, Discrete"),
        (spaces.Sequence(spaces.Discrete(2)), "no array of a fixed shape"),
        (spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}), "no array of a fixed shape"),
        (spaces.Dict({"a": spaces.Text(3)}), "no numeric part"),
    ],
)
def test_spaces_without_an_array_are_refused(space, message):
    with pytest.raises(tri.WorldError, match=message):
        ObservationSpec.from_space(space)


@pytest.mark.parametrize(
    ("observe", "error", "message"),
    [
        (lambda: OneHot(3).observe(3), ValueError, "holds 3; expected whole numbers from 0 to 2"),
        (
            lambda: OneHot((2, 3), (2,), (0, 1)).observe([0, 0]),
            ValueError,
            r"from \[0, 1\] to \[1, 3\]",
        ),
        (lambda: OneHot(3).observe(0.5), TypeError, "observation has dtype float64"),
        (lambda: OneHot(0), ValueError, "expected an integer of at least 1"),
        (lambda: OneHot((2, 2), (3,)), ValueError, r"expected one count, or counts of shape \(3,\)"),
        (lambda: Flat((2,)).observe([1, 2, 3]), ValueError, r"shape \(3,\); expected \(2,\)"),
        (lambda: Flat((2,)).observe("ab"), TypeError, "expected numbers"),
        (lambda: Image((2,)), ValueError, r"expected \(height, width\)"),
        (lambda: Image((1, 1)).observe([[0.5]]), TypeError, "can't be stored as uint8"),
        (lambda: Joined({"a": Flat((2,))}).observe({"b": 1}), ValueError, "no part 'a'"),
        (lambda: Joined({"a": Flat((2,))}).observe({"a": 1}), ValueError, "in part 'a': observation"),
        (lambda: Joined({"a": Flat((2,))}).observe(3), ValueError, "no part 'a'"),
    ],
)
def test_bad_observations_are_named(observe, error, message):
    with pytest.raises(error, match=message):
        observe()
