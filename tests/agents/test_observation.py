"""ObservationSpec: what each space becomes."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

import trifolium as tri
from trifolium.agents import (
    Flat,
    Image,
    Joined,
    ObservationSpec,
    OneHot,
    Passthrough,
    Structured,
)
from trifolium.agents.observation import one_of


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


PARTS = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (2, 4, 3), np.uint8),
        "mask": spaces.Box(0, 1, (5,), np.int8),
        "board": spaces.Box(0, 1, (3, 3), bool),
        "goal": spaces.Discrete(3),
        "arm": spaces.Dict(
            {"angle": spaces.Box(-1, 1, (2,), np.float64), "touch": spaces.MultiBinary(2)}
        ),
        "pair": spaces.Tuple((spaces.Box(-9, 9, (), np.int8), spaces.Box(0, 9, (2,), np.int64))),
        "mission": spaces.Text(20),
    }
)
SHAPE = {
    "arm": {"angle": ((2,), "float32"), "touch": ((2,), "int8")},
    "board": ((3, 3), "bool"),
    "camera": ((2, 4, 3), "uint8"),
    "goal": ((3,), "float32"),
    "mask": ((5,), "int8"),
    "pair": {"0": ((), "int8"), "1": ((2,), "float32")},
}


def same(found, expected):
    """Return whether two observations, arrays or nested dicts of them, are equal."""
    if isinstance(found, dict):
        return found.keys() == expected.keys() and all(same(found[n], expected[n]) for n in found)
    return found.dtype == expected.dtype and np.array_equal(found, expected)


def test_a_structured_space_keeps_its_parts():
    spec = ObservationSpec.from_space(PARTS, structured=True)
    assert spec.is_structured
    assert spec.shape == SHAPE
    PARTS.seed(1)
    seen = PARTS.sample()
    found = spec.observe(seen)
    expected = {
        "arm": {"angle": seen["arm"]["angle"].astype(np.float32), "touch": seen["arm"]["touch"]},
        "board": seen["board"],
        "camera": seen["camera"],
        "goal": np.eye(3, dtype=np.float32)[seen["goal"]],
        "mask": seen["mask"],
        "pair": {"0": np.asarray(seen["pair"][0]), "1": seen["pair"][1].astype(np.float32)},
    }
    assert same(found, expected)
    seen["camera"][:] ^= 1
    assert same(found["camera"], seen["camera"] ^ 1)  # a copy


def test_a_space_without_parts_is_the_same_in_a_structured_spec():
    for space, observation, expected in CASES[:9]:
        spec = ObservationSpec.from_space(space, structured=True)
        assert not spec.is_structured
        assert spec.observe(observation).tolist() == expected


def test_a_batch_of_structured_observations_is_what_each_of_it_is():
    space = spaces.Dict({name: part for name, part in PARTS.items() if name != "mission"})
    batched = batch_space(space, 3)
    batched.seed(3)
    batch = batched.sample()

    class OneByOne(ObservationSpec):
        """A custom spec, which has no method for batches."""

        def __init__(self):
            super().__init__(SHAPE)

        def observe(self, observation):
            return spec.observe(observation)

    spec = ObservationSpec.from_space(space, structured=True)
    found = spec.observe_each(batch, 3)
    assert found["arm"]["angle"].shape == (3, 2)
    for i, one in enumerate(gym.vector.utils.iterate(batched, batch)):
        assert same(tri.replay.batch.map_tree(lambda array, i=i: array[i], found), spec.observe(one))
    assert same(OneByOne().observe_each(batch, 3), found)
    texts = {"mission": ("go", "stay"), "pair": (np.arange(2), ("a", "b"))}
    assert one_of(texts, 1) == {"mission": "stay", "pair": (1, "b")}
    assert OneByOne().shape == SHAPE


def test_a_buffer_stores_what_a_structured_spec_makes(backend):
    spec = ObservationSpec.from_space(PARTS, structured=True)
    buffer = tri.Buffer(20, spec.shape, backend=backend, seed=0)
    PARTS.seed(0)
    seen = [spec.observe(PARTS.sample()) for _ in range(6)]
    for observation in seen:
        buffer.add(observation, 0, 0.0, False)
    batch = buffer.sample(4, flatten=False)
    for row, index in enumerate(batch.indices.tolist()):
        state = tri.replay.batch.map_tree(lambda a, row=row: backend.to_numpy(a)[row, 0], batch.states)
        assert same(state, seen[index])


def test_arrays_of_given_shapes_are_taken_as_they_are():
    spec = ObservationSpec.of_arrays({"a": 2, "b": {"c": ((1, 2), "uint8")}})
    assert spec.shape == {"a": ((2,), "float32"), "b": {"c": ((1, 2), "uint8")}}
    found = spec.observe({"a": [1, 2], "b": {"c": [[3, 4]]}})
    assert same(found, {"a": np.float32([1, 2]), "b": {"c": np.uint8([[3, 4]])}})
    assert isinstance(ObservationSpec.of_arrays((2, 2), "uint8"), Passthrough)


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
        (
            lambda: Joined([Structured([Flat((2,))])]),
            TypeError,
            r"parts\[0\] is a Structured; expected a spec of arrays",
        ),
        (lambda: Structured({"a": Flat((2,))}).observe({"b": 1}), ValueError, "no part 'a'"),
        (
            lambda: Structured({"a": Flat((2,))}).observe({"a": 1}),
            ValueError,
            "in part 'a': observation has shape",
        ),
        (lambda: Structured({}), ValueError, "shape is an empty mapping"),
        (lambda: Structured({1: Flat(()), "1": Flat(())}), ValueError, "different names as text"),
        (lambda: ObservationSpec.of_arrays({"a": {"b": -1}}), ValueError, r"shape\['a'\]\['b'\]"),
    ],
)
def test_bad_observations_are_named(observe, error, message):
    with pytest.raises(error, match=message):
        observe()
