"""Models of structured observations: what they take, and that they learn the same on every backend."""

import copy

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium.models.design import PRESETS
from trifolium.replay.batch import map_tree

from .remember import observed, remember

SIZE = {
    "camera": ((6, 5, 2), "uint8"),
    "body": {"joints": 3, "touch": ((2,), "float32")},
    "legal": ((4,), "bool"),
}
OPTIONS = {
    "ddqn": (
        tri.DDQN,
        {
            "n_frames": {"camera": 2},
            "convolutions": [(4, 3, 1)],
            "adam_epsilon": 1e-2,
            "action_mask": "legal",
        },
    ),
    "iqn": (tri.IQN, {"n_frames": 2, "double": True, "action_mask": "legal"}),
    "without a mask": (tri.DDQN, {"dueling": True, "noisy": True, "double": False}),
}
CASES = pytest.mark.parametrize(("kind", "options"), OPTIONS.values(), ids=OPTIONS)


def make(backend, kind=tri.DDQN, **options):
    defaults = {"seed": 0, "batch_size": 32, "hidden": (16, 8)}
    return kind(SIZE, 4, 600, 0.3, backend=backend, **(defaults | options))


def states_of(model, count, seed=5):
    """Return ``count`` states as mappings of arrays [count, n_frames, *shape]."""
    rng, spec = np.random.default_rng(seed), model.memory.spec
    frames = [[observed(spec, rng) for _ in range(spec.n_frames)] for _ in range(count)]

    def stacked(path, frames_of_leaf):
        return np.stack(
            [np.stack([at(obs, path) for obs in each[-frames_of_leaf:]]) for each in frames]
        )

    found = {}
    for leaf in spec.leaves:
        inner = found
        for key in leaf.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[leaf.path[-1]] = stacked(leaf.path, leaf.n_frames)
    return found


def at(obs, path):
    for key in path:
        obs = obs[key]
    return obs


def row(states, number):
    return map_tree(lambda array: array[number], states)


@CASES
def test_losses_and_actions_agree_with_numpy(learner, kind, options):
    found = {}
    for backend in (learner, tri.get_backend("numpy")):
        model = make(backend, kind, **options)
        remember(model)
        losses = [float(model.train_step()) for _ in range(60)]
        states = states_of(model, 50)
        actions = [model.take_action(row(states, number)) for number in range(50)]
        found[backend] = losses, [*actions, *model.take_actions(states)]
    (losses, actions), (expected, theirs) = found.values() if len(found) > 1 else [*found.values()] * 2
    assert np.all(np.isfinite(losses))
    np.testing.assert_allclose(losses, expected, rtol=5e-4, atol=1e-6)
    assert actions == theirs
    assert len(set(actions)) > 1


def test_the_default_network_joins_the_parts(learner):
    """Of a model without hidden layers the values are a product with all parts, images scaled."""
    size = {"image": ((4, 3), "uint8"), "deep": {"vector": 2}}
    model = tri.DDQN(size, 3, 100, hidden=(), n_frames={"image": 2}, backend=learner, seed=0)
    params = model.network
    assert {name: array.shape for name, array in params.items()} == {
        "head.0.weight": (26, 3),
        "head.0.bias": (3,),
    }
    rng = np.random.default_rng(0)
    image, vector = rng.integers(256, size=(2, 4, 3)).astype("uint8"), rng.normal(size=2)
    vector = vector.astype("float32")
    joined = np.concatenate([image.reshape(-1) / 255, vector])
    values = model.action_values({"image": image, "deep": {"vector": vector}})
    expected = joined @ params["head.0.weight"] + params["head.0.bias"]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    flat = {"image": image.reshape(-1).tolist(), "deep": {"vector": learner.from_numpy(vector)}}
    np.testing.assert_allclose(model.action_values(flat), expected, rtol=1e-5, atol=1e-6)


def test_an_image_among_the_parts_has_the_values_that_it_has_alone(learner):
    """Its layers see what those of a model of the image alone see."""
    options = {"hidden": (), "convolutions": [(4, 3, 1)], "n_frames": 2, "backend": learner}
    alone = tri.DDQN((6, 5, 2), 3, 100, obs_dtype="uint8", seed=0, **options)
    joint = tri.DDQN({"image": ((6, 5, 2), "uint8"), "speed": 3}, 3, 100, seed=0, **options)
    params = alone.state()
    theirs = joint.state()
    for group in ("params", "target"):
        for end in ("weight", "bias"):
            theirs[f"{group}.convolution/image.0.{end}"] = params[f"{group}.convolution.0.{end}"]
        weight = params[f"{group}.head.0.weight"]
        theirs[f"{group}.head.0.weight"] = np.concatenate([weight, np.zeros((6, 3), "float32")])
        theirs[f"{group}.head.0.bias"] = params[f"{group}.head.0.bias"]
    joint.restore(theirs)
    image = np.random.default_rng(0).integers(256, size=(2, 6, 5, 2)).astype("uint8")
    values = joint.action_values({"image": image, "speed": np.ones((2, 3))})
    np.testing.assert_allclose(values, alone.action_values(image), rtol=1e-5, atol=1e-6)


def test_which_parts_get_convolutions_and_scales(learner):
    size = {
        "camera": ((9, 9, 3), "uint8"),
        "grey": ((9, 9), "uint8"),
        "board": (9, 9, 2),
        "table": (9, 9),
        "vector": ((9,), "uint8"),
    }
    model = tri.DDQN(size, 2, 100, convolutions="minatar", backend=learner)
    assert list(model.design.convolutions) == ["camera", "grey", "board"]
    assert [scale == 1 / 255 for scale in model.design.input_scale.values()] == [1, 1, 0, 0, 1]
    chosen = {"table": "minatar", "camera": [(2, 3, 2)], "board": None}
    model = tri.DDQN(size, 2, 100, convolutions=chosen, input_scale={"vector": 0.5}, backend=learner)
    assert model.design.convolutions == {"camera": ((2, 3, 2),), "table": PRESETS["minatar"]}
    assert model.design.input_scale["vector"] == 0.5
    assert model.design.input_scale["camera"] == 1 / 255
    assert set(tri.DDQN(size, 2, 100, input_scale=2, backend=learner).design.input_scale.values()) == {
        2
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convolutions": "nature"}, r"leave nothing.*\(6, 5, 2\) in input_size\['camera'\].*mapping"),
        ({"convolutions": {"camera": "nature"}}, r"convolutions\['camera'\]='nature' leave nothing"),
        (
            {"convolutions": {"eye": "nature"}},
            "convolutions has the name 'eye'.*'camera', 'body/joints'",
        ),
        ({"convolutions": {"body/touch": "nature"}}, r"input_size\['body'\]\['touch'\] is \(2,\)"),
        ({"input_scale": {"eye": 2.0}}, "input_scale has the name 'eye'"),
        ({"input_scale": {"camera": 0}}, r"input_scale\['camera'\]=0"),
        ({"n_frames": {"eye": 2}}, "n_frames has the names eye; expected names of input_size"),
        ({"n_frames": {"camera": 0}}, r"n_frames\['camera'\]=0"),
        ({"input_size": {"a": {}}}, r"input_size\['a'\] is an empty mapping"),
        ({"input_size": {"a": {"b": "x"}}}, r"input_size\['a'\]\['b'\]"),
        ({"input_size": {"a": 2}, "convolutions": "minatar"}, "no part of input_size is one"),
        ({"input_size": 4, "n_frames": {"a": 2}}, "input_size is no mapping"),
    ],
)
def test_wrong_options_name_the_part(learner, options, message):
    options = {"input_size": SIZE, "action_space": 4, "memory_size": 100} | options
    with pytest.raises((ValueError, TypeError), match=message):
        tri.DDQN(**options, backend=learner)


class First(tri.BaseModel):
    def take_action(self, state):
        return int(as_numpy(self.flat_state(state)["a"])[0])


def test_a_model_of_ones_own_gets_the_mapping(backend):
    model = First({"a": 1, "b": {"c": 2}}, 3, 100, backend=backend)
    assert model.state_size == 3
    states = {"a": np.array([[2.0], [0.0]]), "b": {"c": np.zeros((2, 2))}}
    native = map_tree(lambda array: backend.from_numpy(array.astype("float32")), states)
    assert model.take_actions(states).tolist() == [2, 0]
    assert model.take_action(map_tree(lambda array: array[1, ...], native)) == 0
    flat = model.flat_states(native)
    assert (flat["a"].shape, flat["b"]["c"].shape) == ((2, 1), (2, 2))
    assert flat["b"]["c"].dtype == np.float32


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1.0]}, r"state lacks the key 'b', which input_size has; it has 'a'"),
        ({"a": [1.0], "b": [0.0, 0.0]}, r"state\['b'\] is a list; expected a mapping with the key 'c'"),
        ({"a": [1.0], "b": {"c": [0.0]}}, r"state\['b'\]\['c'\] has shape \(1,\); expected 2 elements"),
        ({"a": [1.0], "b": {"c": [0, 0]}, "d": 0}, "state has the keys d, which input_size lacks"),
        (np.zeros(3), "state is a ndarray; expected a mapping with the key 'a'"),
    ],
)
def test_wrong_states_name_the_part(backend, state, message):
    model = First({"a": 1, "b": {"c": 2}}, 3, 100, backend=backend)
    with pytest.raises((ValueError, TypeError), match=message):
        model.take_action(state)


def test_parts_with_different_numbers_of_states_are_named(learner):
    model = tri.DDQN({"a": 1, "b": {"c": 2}}, 3, 100, backend=learner)
    with pytest.raises(ValueError, match=r"states\['b'\]\['c'\] has 2 states; expected 3, as"):
        model.take_actions({"a": np.zeros((3, 1)), "b": {"c": np.zeros((2, 2))}})
    with pytest.raises(ValueError, match=r"states\['a'\] have shape \(3, 2\); expected N times 1"):
        model.take_actions({"a": np.zeros((3, 2)), "b": {"c": np.zeros((3, 2))}})


@pytest.mark.slow_on("jax")
@CASES
def test_a_file_brings_all_of_it_back(learner, tmp_path, kind, options):
    model = make(learner, kind, sampler=tri.Prioritized(), **options)
    remember(model, steps=200)
    for _ in range(3):
        model.train_step()
    model.save(tmp_path / "model", memory=True)
    loaded = kind.from_file(tmp_path / "model")
    assert loaded.memory.spec == model.memory.spec
    assert loaded.options() == model.options()
    states = states_of(model, 20)
    assert np.array_equal(loaded.take_actions(states), model.take_actions(states))
    assert float(loaded.train_step()) == float(model.train_step())
    other = copy.deepcopy(model)
    assert np.array_equal(other.take_actions(states), model.take_actions(states))
    assert float(other.train_step()) == float(model.train_step())


class World(gym.Env):
    """Counts to 10; shows a picture, two numbers and what is legal: only the right action is."""

    def __init__(self):
        inner = gym.spaces.Tuple((gym.spaces.Box(0, 1, (1,)), gym.spaces.Box(0, 1, (), np.float64)))
        self.observation_space = gym.spaces.Dict(
            image=gym.spaces.Box(0, 255, (6, 5, 1), np.uint8),
            mask=gym.spaces.MultiBinary(3),
            numbers=inner,
        )
        self.action_space = gym.spaces.Discrete(3)

    def observation(self):
        mask = np.zeros(3, np.int8)
        mask[self.count % 3] = 1
        numbers = np.full(1, self.count / 10, np.float32), np.array(0.5)
        return {"image": np.full((6, 5, 1), self.count, np.uint8), "mask": mask, "numbers": numbers}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.observation(), {}

    def step(self, action):
        right = action == self.count % 3
        self.count += 1
        return self.observation(), float(right), self.count == 10, False, {}


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN, tri.RandomModel])
def test_an_environment_of_mappings_and_tuples(learner, kind):
    env = World()
    model = kind.from_env(env, 500, action_mask="mask", backend=learner, seed=0)
    assert model.input_size == {
        "image": ((6, 5, 1), "uint8"),
        "mask": ((3,), "int8"),
        "numbers": {"0": ((1,), "float32"), "1": ((), "float32")},
    }
    if kind is not tri.RandomModel:
        assert model.design.convolutions == {"image": PRESETS["minatar"]}
        model.set_epsilon(0.5)
    for _ in range(8):
        obs, _ = env.reset(seed=0)
        done, total = False, 0.0
        while not done:
            action = model.take_action(obs)
            following, reward, done, _, _ = env.step(action)
            model.memory.add(obs, action, reward, done, next_obs=following)
            obs, total = following, total + reward
        assert total == 10.0  # no other action is legal
    assert np.isfinite(float(model.train_step()))
    many = gym.vector.SyncVectorEnv([World, World])
    model = kind.from_env(many, 500, action_mask="mask", backend=learner, seed=0)
    assert model.memory.n_streams == 2
    assert model.take_actions(many.reset(seed=0)[0]).tolist() == [0, 0]


def test_a_memory_of_structured_observations_is_checked(learner):
    memory = tri.Buffer(600, SIZE, {"camera": 2}, backend=learner, seed=0)
    names = {"camera": (6, 5, 2), "body": {"joints": 3, "touch": 2}, "legal": 4}
    for size in (SIZE, names, memory.obs_shape):
        model = tri.DDQN(size, 4, 600, memory=memory, action_mask="legal", batch_size=16, hidden=(8,))
        assert model.memory is memory
    assert tri.DDQN(SIZE, 4, 600, memory=memory, n_frames={"camera": 2}).n_frames == 2
    remember(model, steps=100)
    assert np.isfinite(float(model.train_step()))
    for size in ({**SIZE, "camera": ((6, 5, 2), "float32")}, {"camera": (6, 5, 2)}, 4):
        with pytest.raises(ValueError, match=r"input_size=.*but memory has"):
            tri.DDQN(size, 4, 600, memory=memory)
    with pytest.raises(ValueError, match=r"n_frames=2, but memory has \{'camera': 2, 'body': 1"):
        tri.DDQN(SIZE, 4, 600, memory=memory, n_frames=2)


def test_a_person_sees_each_part_by_its_name(backend):
    import io

    size = {"image": ((8, 8), "uint8"), "pose": {"speed": 2}, "legal": ((2,), "bool")}
    output = io.StringIO()
    streams = {"input": io.StringIO("1\n0\n"), "output": output}
    model = tri.HumanModel(
        size, 2, 100, n_frames={"pose": 2}, action_mask="legal", backend=backend, **streams
    )
    speed = backend.from_numpy(np.arange(4, dtype="float32"))
    state = {"image": np.zeros((8, 8), "uint8"), "pose": {"speed": speed}, "legal": [True, False]}
    assert model.take_action(state) == 0
    shown = output.getvalue()
    assert [line for line in shown.splitlines() if line.endswith(":")] == [
        "image:",
        "pose/speed:",
        "legal:",
    ]
    lines = shown.partition("pose/speed:\n")[2].splitlines()
    assert [line.split() for line in lines[:2]] == [["0.", "1."], ["2.", "3."]]
    assert "'1' is not legal now" in shown


def test_a_user_network_gets_the_mapping():
    """Of NumPy; those of the other frameworks are in backends/."""
    size = {"place": 2, "more": {"image": ((2, 2), "uint8")}, "legal": ((3,), "bool")}
    seen = []

    def init(rng):
        return {"place": rng.normal(size=(4, 3)), "image": rng.normal(size=(4, 3)) / 255}

    def apply(xp, params, states):
        seen.append({"place": states["place"].shape, "legal": states["legal"].shape})
        return states["place"] @ params["place"] + states["more"]["image"] @ params["image"]

    options = {"n_frames": {"place": 2}, "action_mask": "legal", "batch_size": 16, "seed": 0}
    model = tri.DDQN(size, 3, 200, network=(init, apply), **options)
    remember(model, steps=100)
    assert np.isfinite(float(model.train_step()))
    assert {"place": (16, 4), "legal": (16, 3)} in seen
    state = row(states_of(model, 1), 0)
    values, legal = model.action_values(state), state["legal"][-1].astype(bool)
    expected = apply(np, model.network, model.flat_states(states_of(model, 1)))[0]
    np.testing.assert_allclose(values[legal], expected[legal], rtol=1e-4)
    with pytest.raises(ValueError, match="convolutions="):
        tri.DDQN(size, 3, 200, network=(init, apply), convolutions={"more/image": [(2, 2, 1)]})


def test_goals_in_hindsight_are_learned(learner):
    """The loss is that of a model which is given the goals and rewards that the sampler gives."""
    size = dict.fromkeys(("observation", "achieved_goal", "desired_goal"), (2,))

    def reward(achieved, desired, info):
        return (achieved == desired).all(axis=1) - 1.0

    model = tri.DDQN(
        size,
        2,
        100,
        n_step=1,
        batch_size=16,
        hidden=(8,),
        huber_delta=None,
        double=False,
        seed=0,
        sampler=tri.Hindsight(reward, ratio=1.0),
        backend=learner,
    )
    for step in range(60):
        place = np.array([step, step % 5], "float32")
        obs = {"observation": place, "achieved_goal": place, "desired_goal": [-9.0, -9.0]}
        model.memory.add(obs, step % 2, -1.0, done=False, truncated=step % 12 == 11)
    again = copy.deepcopy(model)
    batch = again.memory.sample(16)
    values, next_values = (
        np.stack([model.action_values(row(to_numpy(learner, states), n)) for n in range(16)])
        for states in (batch.states, batch.next_states)
    )
    goals = as_numpy(batch.states["desired_goal"])
    assert np.all(goals != -9.0)
    rewards, actions = as_numpy(batch.rewards)[:, 0], as_numpy(batch.actions)[:, 0]
    assert set(rewards.tolist()) <= {-1.0, 0.0}
    errors = values[np.arange(16), actions] - rewards - 0.99 * next_values.max(axis=1)
    np.testing.assert_allclose(float(model.train_step()), np.mean(errors**2), rtol=1e-4)


def to_numpy(backend, states):
    return map_tree(backend.to_numpy, states)
