"""Copies of models, a memory that is given, models made for environments, and what files bring back."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri

from .remember import remember

KINDS = pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])
OPTIONS = {
    "plain": {},
    "all": {"noisy": True, "dueling": True, "n_frames": 2, "max_grad_norm": 0.5, "polyak": 0.1},
}
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


def made(kind, backend, **options):
    sampler = {"sampler": tri.Prioritized()} if options.get("noisy") else {}
    options = {"batch_size": 16, "hidden": (8,), "seed": 0, **sampler} | options
    model = kind(4, 3, 300, tri.Linear(1.0, 0.0, 1000), backend=backend, **options)
    remember(model, steps=200)
    return model


def what_comes_next(model):
    """Return what a model does next: actions, losses, priorities and weights."""
    states = np.random.default_rng(0).normal(size=(10, model.state_size))
    found = []
    for state in states:
        found.append(model.take_action(state))
        found.append(float(model.train_step()))
    model.memory.add(states[0][:4], 1, 1.0, False)
    found.append(model.epsilon)
    found += [float(np.abs(array.astype(float)).sum()) for array in model.state().values()]
    return [*found, *model.take_actions(states)]


@pytest.mark.slow_on("torch", "jax")
@KINDS
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_does_what_the_original_would(learner, kind, options, copied):
    model = made(kind, learner, **options)
    for _ in range(3):
        model.train_step()
    other, third = copied(model), copied(model)
    assert other.backend is model.backend
    assert other.memory is not model.memory
    expected = what_comes_next(model)
    assert what_comes_next(other) == expected  # and the original's steps left the copy alone
    assert what_comes_next(third) == expected


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copied_random_model_goes_on(backend, copied):
    model = tri.RandomModel(4, 3, 100, backend=backend, seed=0)
    other = copied(model)
    assert [other.take_action(None) for _ in range(9)] == [model.take_action(None) for _ in range(9)]


# A memory that is given


class Counted:
    """A memory of another class: a Buffer behind it, and how often it was asked to draw."""

    def __init__(self, buffer):
        self.buffer, self.draws = buffer, 0

    def draw(self, batch_size):
        self.draws += 1
        return self.buffer.draw(batch_size)

    def __len__(self):
        return len(self.buffer)

    def __getattr__(self, name):
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.buffer, name)


@KINDS
def test_a_given_memory_is_learned_from(learner, kind, tmp_path):
    options = {"n_frames": 2, "n_step": 2, "gamma": 0.9, "sampler": tri.Prioritized()}
    buffer = tri.Buffer(300, (4,), backend=learner, seed=3, **options)
    memory = Counted(buffer)
    model = kind(4, 3, 300, memory=memory, batch_size=16, hidden=(8,), seed=0)
    assert model.backend is learner
    assert model.memory is memory
    assert (model.n_frames, model.memory.spec.n_step) == (2, 2)
    remember(model, steps=100)
    assert float(model.train_step()) > 0
    assert memory.draws == 1
    assert len({float(mass) for mass in buffer.sampler.state()["leaves"]}) > 10  # those of errors
    model.save(tmp_path / "model")
    again = kind.from_file(tmp_path / "model", memory=memory)
    assert again.memory is memory
    with pytest.raises(TypeError, match="memory is a Counted"):
        model.save(tmp_path / "model", memory=True)


@KINDS
def test_a_model_from_a_file_is_where_its_memory_is(learner, kind, tmp_path):
    kind(4, 3, 300, hidden=(8,), seed=0).save(tmp_path / "model")
    memory = tri.Buffer(300, (4,), backend=learner, seed=3)
    model = kind.from_file(tmp_path / "model", memory=memory)
    assert model.backend is learner
    remember(model, steps=100)
    assert float(model.train_step()) > 0


def test_two_models_share_a_memory(learner):
    memory = tri.Buffer(300, (4,), backend=learner, seed=0)
    models = [kind(4, 3, 300, memory=memory, batch_size=16) for kind in (tri.DDQN, tri.IQN)]
    remember(models[0], steps=100)
    assert all(float(model.train_step()) > 0 for model in models)
    assert tri.RandomModel(4, 3, 300, memory=memory).memory is memory


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 5}, r"input_size=\(5,\), but memory has \(4,\)"),
        ({"memory_size": 200}, "memory_size=200, but memory has 300"),
        ({"n_step": 5}, "n_step=5, but memory has 2"),
        ({"gamma": 0.5}, "gamma=0.5, but memory has 0.99"),
        ({"n_frames": 2}, "n_frames=2, but memory has 1"),
        ({"obs_dtype": "uint8"}, "obs_dtype='uint8', but memory has 'float32'"),
        ({"sampler": tri.Prioritized()}, "sampler=.*but memory has"),
        ({"batch_size": 300}, "batch_size=300 can't be drawn"),
        ({"memory": [1, 2]}, "is a list without.*drawable"),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(learner, options, message):
    memory = tri.Buffer(300, (4,), backend=learner, n_step=2)
    fits = {"input_size": 4, "action_space": 3, "memory_size": 300, "memory": memory}
    with pytest.raises((ValueError, TypeError), match=message):
        tri.DDQN(**fits | options)


def test_a_memory_on_another_backend_is_refused(learner):
    other = "numpy" if learner.name != "numpy" else "strict"
    if other == "strict" and other not in tri.backends():
        pytest.skip("no second backend is installed")
    memory = tri.Buffer(300, (4,), backend=other)
    with pytest.raises(ValueError, match="memory is on backend="):
        tri.DDQN(4, 3, 300, memory=memory, backend=learner)


# Models for environments


class Env:
    """Spaces alone."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions


def box(*shape, dtype=np.float32):
    return gym.spaces.Box(0, 255, shape, dtype)


TWO = gym.spaces.Discrete(2)


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN, tri.RandomModel])
def test_a_model_for_an_environment(learner, kind):
    model = kind.from_env(gym.make("CartPole-v1"), 1000, backend=learner, seed=0)
    assert (model.input_size, model.action_space, model.memory.capacity) == ((4,), 2, 1000)
    assert model.memory.spec.obs_dtype == "float32"
    many = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
    model = kind.from_env(many, 1000, backend=learner, seed=0)
    assert (model.input_size, model.action_space, model.memory.n_streams) == ((4,), 2, 4)
    obs, _ = many.reset(seed=0)
    assert model.take_actions(obs).shape == (4,)


@pytest.mark.parametrize(
    ("space", "convolutions"),
    [
        (box(84, 84, 3, dtype=np.uint8), "nature"),
        (box(84, 84, dtype=np.uint8), "nature"),
        (box(10, 10, 4), "minatar"),
        (box(7, 7, 3, dtype=np.uint8), "minatar"),
        (box(8, 3), None),
        (box(2, 2, 3, dtype=np.uint8), None),
    ],
)
def test_images_get_convolutions(learner, space, convolutions):
    model = tri.DDQN.from_env(Env(space, TWO), 100, hidden=(8,), backend=learner)
    expected = networks_of(convolutions)
    assert model.design.convolutions == expected
    assert model.memory.spec.obs_dtype == ("uint8" if space.dtype == np.uint8 else "float32")
    assert model.take_action(np.zeros(space.shape)) in (0, 1)
    plain = tri.DDQN.from_env(Env(space, TWO), 100, convolutions=None, hidden=(8,), backend=learner)
    assert plain.design.convolutions == ()


def networks_of(name):
    from trifolium.models.design import PRESETS

    return () if name is None else PRESETS[name]


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(4), box(2), r"action space Box.*expected Discrete.*ActionSpec"),
        (box(4), gym.spaces.Discrete(3, start=1), "begins at 1; expected 0"),
        (gym.spaces.Discrete(5), TWO, "observation space Discrete.*expected a Box.*ObservationSpec"),
        (
            gym.spaces.Dict(a=box(2), b=gym.spaces.Tuple((box(2), gym.spaces.Discrete(3)))),
            TWO,
            r"observation\['b'\]\['1'\], Discrete\(3\).*expected a Box",
        ),
        (box(), TWO, "observation space Box"),
        (box(4, 84, 84, dtype=np.uint8), TWO, r"\(4, 84, 84\).*frames first.*n_frames="),
    ],
)
def test_spaces_that_do_not_fit_are_named(learner, observations, actions, message):
    with pytest.raises(tri.WorldError, match=message):
        tri.DDQN.from_env(Env(observations, actions), 1000, backend=learner)


def test_what_is_no_environment_is_named(learner):
    with pytest.raises(TypeError, match="is a int without observation_space"):
        tri.DDQN.from_env(4, 1000, backend=learner)


# What files bring back


@KINDS
def test_load_brings_back_what_can_be_assigned(learner, kind, tmp_path):
    model = made(kind, learner)
    model.learning_rate, model.batch_size, model.target_update = 1e-2, 8, 3
    model.train_step()
    model.save(tmp_path / "model", memory=True)
    other = made(kind, learner, seed=5)
    other.epsilon = 0.9
    other.load(tmp_path / "model")
    assert (other.learning_rate, other.batch_size, other.target_update) == (1e-2, 8, 3)
    assert other.epsilon_schedule == tri.Linear(1.0, 0.0, 1000)
    assert what_comes_next(other) == what_comes_next(model)


def test_load_ends_a_schedule_that_the_saved_model_had_ended(learner, tmp_path):
    model = made(tri.DDQN, learner)
    model.epsilon = 0.25
    model.save(tmp_path / "model")
    other = made(tri.DDQN, learner)
    other.load(tmp_path / "model")
    other.take_action(np.zeros(4))
    assert (other.epsilon, other.epsilon_schedule) == (0.25, None)


def test_changes_go_before_what_the_file_holds(learner, tmp_path):
    made(tri.DDQN, learner).save(tmp_path / "model")
    again = tri.DDQN.from_file(tmp_path / "model", epsilon=0.5, batch_size=4, learning_rate=0.1)
    assert (again.epsilon, again.epsilon_schedule) == (0.5, None)
    assert (again.batch_size, again.learning_rate) == (4, 0.1)
    schedule = tri.Linear(0.5, 0.0, 10)
    again = tri.DDQN.from_file(tmp_path / "model", epsilon=schedule)
    assert again.epsilon_schedule == schedule


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_file_with_its_memory_loads_on_numpy(learner, tmp_path, options):
    model = made(tri.DDQN, learner, **options)
    model.train_step()
    model.save(tmp_path / "model", memory=True)
    other = made(tri.DDQN, "numpy", **options | {"seed": 4})
    other.load(tmp_path / "model")
    assert len(other.memory) == len(model.memory)
    again = tri.DDQN.from_file(tmp_path / "model", backend="numpy")
    expected = [float(model.train_step()) for _ in range(10)]
    for each in (other, again):
        assert [float(each.train_step()) for _ in range(10)] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("samplers", [(tri.Uniform, tri.Prioritized), (tri.Prioritized, tri.Uniform)])
def test_a_memory_of_another_sampler_is_named(learner, tmp_path, samplers):
    saved, here = samplers
    made(tri.DDQN, learner, sampler=saved()).save(tmp_path / "model", memory=True)
    model = made(tri.DDQN, learner, sampler=here())
    before = len(model.memory), model.state()["params.head.1.bias"]
    message = f"the sampler {saved.__name__}; this model's is {here.__name__}"
    with pytest.raises(tri.CheckpointError, match=message):
        model.load(tmp_path / "model")
    assert len(model.memory) == before[0]
    assert np.array_equal(model.state()["params.head.1.bias"], before[1])


def test_options_of_the_sampler_come_back(learner, tmp_path):
    model = made(tri.DDQN, learner, sampler=tri.Prioritized(alpha=0.3, beta=0.9))
    model.save(tmp_path / "model", memory=True)
    other = made(tri.DDQN, learner, sampler=tri.Prioritized())
    other.load(tmp_path / "model")
    assert other.memory.sampler.options == model.memory.sampler.options
