"""Options of models: named in signatures, checked by name, with one set of defaults."""

import inspect
import json

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium.experiment import TrainOptions
from trifolium.models import get_model, model_names, networks
from trifolium.models.iqn import QuantileRegression

from .remember import remember

LEARNERS = [tri.DDQN, tri.IQN]
KINDS = pytest.mark.parametrize("kind", LEARNERS)


class Doubled(tri.DDQN):
    """A learner with an option of its own."""

    def __init__(self, *args, factor=2.0, **options):
        self.factor = factor
        super().__init__(*args, **options)


def defaults(kind):
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


@KINDS
def test_every_option_is_named_in_the_signature(kind):
    parameters = inspect.signature(kind).parameters
    assert not {each.kind for each in parameters.values()} & {
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    }
    memory = inspect.signature(tri.Buffer).parameters.keys() - {"capacity", "obs_shape", "action_shape"}
    assert memory - {"path"} <= parameters.keys()


def test_learners_have_the_same_defaults():
    common = defaults(tri.Learner)
    for kind in LEARNERS:
        found = defaults(kind)
        assert common == {name: found[name] for name in common}


def test_the_command_line_has_the_same_defaults():
    options = TrainOptions(env="x")
    for name, default in defaults(tri.DDQN).items():
        if default is not None and name not in ("epsilon", "backend", "seed", "double"):
            assert getattr(options, name, default) == default, name


@KINDS
@pytest.mark.parametrize(
    ("given", "meant"),
    [("lr", "learning_rate"), ("tau", "polyak"), ("duelling", "dueling"), ("sampelr", "sampler")],
)
def test_unknown_option_names_the_model_and_the_option_meant(learner, kind, given, meant):
    with pytest.raises(TypeError, match=rf"{kind.__name__} has no option '{given}'.*'{meant}'"):
        kind(4, 2, 1000, backend=learner, **{given: 0.1})


@pytest.mark.parametrize("given", ["capacity", "memory_typo", "lr"])
def test_unknown_option_of_any_model_is_refused_by_name(backend, given):
    with pytest.raises(TypeError, match=f"RandomModel has no option '{given}'"):
        tri.RandomModel(4, 2, 100, backend=backend, **{given: 3})


def test_unknown_option_of_a_subclass(learner):
    with pytest.raises(TypeError, match="Doubled has no option 'facto'; did you mean 'factor'"):
        Doubled(4, 2, 1000, backend=learner, facto=1.0)


def test_options_of_a_subclass_are_saved(learner, tmp_path):
    Doubled(4, 2, 1000, backend=learner, factor=3.0, huber_delta=0.5).save(tmp_path / "model")
    again = Doubled.from_file(tmp_path / "model")
    assert (again.factor, again.huber_delta) == (3.0, 0.5)
    with pytest.raises(TypeError, match="did you mean 'factor'"):
        Doubled.from_file(tmp_path / "model", facto=1.0)


def test_a_space_is_no_number_of_actions(learner):
    for kind in (tri.DDQN, tri.RandomModel):
        with pytest.raises(TypeError, match=rf"action_space\.n.*{kind.__name__}\.from_env"):
            kind(4, gym.spaces.Discrete(2), 1000, backend=learner)
        with pytest.raises(TypeError, match="expected the number of actions"):
            kind(4, gym.spaces.Box(0, 1, (2,)), 1000, backend=learner)


@pytest.mark.slow_on("jax")
@KINDS
@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"memory_size": 128, "batch_size": 128}, 129),
        ({"memory_size": 64}, 65),
        ({"memory_size": 70, "n_frames": 8, "boundary": "mask"}, 72),
        ({"memory_size": 64, "n_streams": 8, "batch_size": 60}, 72),
    ],
)
def test_a_memory_that_never_fills_a_minibatch_is_refused(learner, kind, options, least):
    with pytest.raises(ValueError, match=rf"batch_size=.*memory_size of at least {least}\b"):
        kind(4, 2, **options, backend=learner)
    model = kind(4, 2, **options | {"memory_size": least}, backend=learner, seed=0)
    before = model.state()
    ones, streams = np.ones(model.memory.n_streams), model.memory.n_streams
    for step in range(2 * least):
        obs = np.full((streams, 4) if streams > 1 else 4, step / least)
        model.memory.add(obs, ones.astype(int), ones, ones == 0)
    assert float(model.train_step()) > 0
    assert not np.array_equal(before["params.torso.0.bias"], model.state()["params.torso.0.bias"])


def test_batch_size_assigned_later_is_checked_too(learner):
    model = tri.DDQN(4, 2, 100, backend=learner)
    with pytest.raises(ValueError, match="batch_size=100 can't be drawn"):
        model.batch_size = 100
    assert model.batch_size == 64


@KINDS
def test_polyak_and_target_update_are_one_or_the_other(learner, kind):
    with pytest.raises(ValueError, match=r"target_update=10 and polyak=0\.1"):
        kind(4, 2, 1000, backend=learner, polyak=0.1, target_update=10)
    model = kind(4, 2, 1000, backend=learner, polyak=0.1)
    assert model.target_update is None
    with pytest.raises(ValueError, match="expected one of the two"):
        model.target_update = 10
    assert kind(4, 2, 1000, backend=learner).target_update == 250


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((tri.DDQN, name) for name in ("polyak", "max_grad_norm", "huber_delta", "double")),
        *((tri.IQN, name) for name in ("kappa", "quantiles", "adam_epsilon", "compile")),
    ],
)
def test_options_that_are_compiled_in_cannot_be_assigned(learner, kind, name):
    model = kind(4, 2, 1000, backend=learner)
    before = getattr(model, name)
    with pytest.raises(AttributeError, match=f"{name}=.* is compiled into the {kind.__name__}"):
        setattr(model, name, 1)
    assert getattr(model, name) == before


@KINDS
@pytest.mark.parametrize("how", ["assigned", "decayed"])
def test_an_assignment_to_epsilon_ends_its_schedule(learner, kind, how):
    model = kind(4, 2, 1000, tri.Linear(1.0, 0.5, 100), backend=learner, seed=0)
    model.take_action(np.zeros(4))
    if how == "assigned":
        model.epsilon = 0
    else:
        model.epsilon_decay(1.0)
    for _ in range(3):
        model.take_action(np.zeros(4))
        model.take_actions(np.zeros((2, 4)))
        assert model.epsilon == 0
    assert model.epsilon_schedule is None


def test_greedy_does_not_end_the_schedule(learner):
    model = tri.DDQN(4, 2, 1000, tri.Linear(1.0, 0.0, 10), backend=learner)
    with model.greedy():
        assert model.epsilon == 0
        model.take_action(np.zeros(4))
    model.take_action(np.zeros(4))
    model.take_action(np.zeros(4))
    assert model.epsilon == pytest.approx(0.9)


def test_epsilon_is_checked_when_assigned(backend):
    model = tri.RandomModel(4, 2, 100, 0.5, backend=backend)
    with pytest.raises(ValueError, match=r"epsilon=2.*0 to 1"):
        model.epsilon = 2
    assert model.epsilon == 0.5


STATES = {  # input_size and n_frames: shapes that are a state, and some that are not
    ((12, 12, 3), 1): (
        [(12, 12, 3), (1, 12, 12, 3), (432,), (1, 1, 432)],
        [(3, 12, 12), (12, 3, 12), (12, 36), (431,)],
    ),
    ((6, 4), 2): ([(2, 6, 4), (1, 2, 6, 4), (48,), (2, 24)], [(2, 4, 6), (6, 4, 2), (6, 8), (6, 4)]),
    ((4,), 3): ([(3, 4), (12,), (1, 12)], [(4, 3), (2, 6), (4,)]),
    ((4, 1), 1): ([(4, 1), (4,), (1, 4), (1, 4, 1)], [(2, 2)]),
    ((1,), 1): ([(1,), (), (1, 1)], [(2,)]),
}


@pytest.mark.parametrize(("sizes", "shapes"), STATES.items(), ids=map(str, STATES))
def test_axes_of_states_are_checked(learner, sizes, shapes):
    (input_size, n_frames), (good, bad) = sizes, shapes
    model = tri.DDQN(input_size, 2, 1000, 0.0, n_frames=n_frames, backend=learner, seed=0)
    values = np.random.default_rng(0).normal(size=model.state_size).astype(np.float32)
    expected = model.action_values(values)
    for shape in good:
        assert np.array_equal(model.action_values(values.reshape(shape)), expected)
        assert model.take_action(values.reshape(shape)) == expected.argmax()
        assert model.take_actions(values.reshape(1, *shape)).tolist() == [expected.argmax()]
    for shape in bad:
        with pytest.raises(ValueError, match="state has shape") as caught:
            model.take_action(np.zeros(shape))
        assert str(model.memory.obs_shape) in str(caught.value)
        with pytest.raises(ValueError, match="states have shape"):
            model.take_actions(np.zeros((3, *shape)))


def test_axes_of_images_are_named(learner):
    model = tri.DDQN((12, 12, 3), 2, 1000, convolutions="minatar", backend=learner)
    with pytest.raises(ValueError, match=r"\(3, 12, 12\).*\[height, width, channels\]"):
        model.take_action(np.zeros((3, 12, 12)))
    with pytest.raises(ValueError, match=r"\(3, 84, 84\).*\[height, width, channels\]"):
        tri.DDQN((3, 84, 84), 2, 1000, convolutions="nature", backend=learner)


def test_bytes_are_scaled_unless_told_otherwise(learner):
    assert tri.DDQN((8, 8), 2, 1000, obs_dtype="uint8", backend=learner).design.input_scale == 1 / 255
    assert tri.DDQN((8, 8), 2, 1000, backend=learner).design.input_scale == 1.0
    options = {"obs_dtype": "uint8", "input_scale": 1.0, "backend": learner}
    assert tri.DDQN((8, 8), 2, 1000, **options).design.input_scale == 1.0


@KINDS
def test_column_vectors_are_observations(learner, kind):
    model = kind((4, 1), 2, 100, backend=learner, batch_size=8, n_frames=2, seed=0)
    for step in range(20):
        obs = np.full([(4, 1), (4,), (1, 4)][step % 3], step / 20, np.float32)
        frames = np.concatenate([np.zeros((1, 4)), obs.reshape(1, 4)])
        model.memory.add(obs, model.take_action(frames), 1.0, step % 5 == 4)
    assert model.memory.sample(4).states.shape == (4, 8)
    assert float(model.train_step()) > 0


def test_n_frames(backend):
    assert tri.RandomModel(4, 2, 100, n_frames=3, backend=backend).n_frames == 3


# DQN, dueling distributions


def test_without_double_it_is_dqn(learner):
    options = {"batch_size": 32, "hidden": (8,), "n_step": 1, "huber_delta": None, "backend": learner}
    model = tri.DDQN(4, 3, 1000, 0.0, double=False, seed=0, **options)
    other = tri.DDQN(4, 3, 1000, 0.0, double=True, seed=0, target_update=5, **options)
    rows = tri.DDQN(4, 3, 1000, 0.0, seed=0, **options)
    for each in (model, other, rows):
        remember(each)
    state = model.state()
    target = {name.removeprefix("target."): v for name, v in state.items() if "target" in name}
    target = {name: value + 0.3 for name, value in target.items()}  # so that both networks differ
    for each in (model, other):
        changed = each.state() | {f"target.{name}": value for name, value in target.items()}
        each.restore(changed)
    batch = rows.memory.sample(32)
    states, actions, rewards, next_states, dones, valid = map(tri.backend.as_numpy, batch)

    def values(params, rows):
        hidden = np.maximum(rows @ params["head.0.weight"] + params["head.0.bias"], 0)
        return hidden @ params["head.1.weight"] + params["head.1.bias"]

    online = {n.removeprefix("params."): v for n, v in state.items() if n.startswith("params.")}
    best = values(target, next_states).max(axis=1, keepdims=True)
    errors = np.take_along_axis(values(online, states), actions.astype(int), 1) - (
        rewards + 0.99 * (1 - dones) * best
    )
    expected = (errors**2 * valid).sum() / valid.sum()
    assert float(model.train_step()) == pytest.approx(expected, rel=1e-4)
    assert float(other.train_step()) != pytest.approx(expected, rel=1e-3)


def test_dueling_of_a_distribution_has_a_mean_for_each_output(backend):
    rng, xp = np.random.default_rng(0), backend.xp
    head = networks.Head(hidden=(5,), actions=3, dueling=True, noisy=False, outputs=4)
    params = head.init(rng, 6)
    features = rng.normal(size=(2, 6)).astype(np.float32)
    native = {name: backend.from_numpy(value.copy()) for name, value in params.items()}
    found = backend.to_numpy(head.apply(xp, native, backend.from_numpy(features.copy())))
    assert found.shape == (2, 4, 3)

    def stream(name, row):
        hidden = np.maximum(row @ params[f"{name}.0.weight"] + params[f"{name}.0.bias"], 0)
        return hidden @ params[f"{name}.1.weight"] + params[f"{name}.1.bias"]

    for row in range(2):
        advantage = stream("advantage", features[row]).reshape(4, 3)
        value = stream("value", features[row])
        for output in range(4):
            expected = value[output] + advantage[output] - advantage[output].mean()
            np.testing.assert_allclose(found[row, output], expected, rtol=1e-4, atol=1e-6)


# Models by name


def test_models_are_found_by_name():
    assert {"ddqn", "iqn", "random"} <= set(model_names())
    assert get_model("iqn") is tri.IQN
    with pytest.raises(ValueError, match=r"'dqqn' is not known.*random.*did you mean 'ddqn'"):
        get_model("dqqn")


def test_options_are_json(learner):
    for kind in LEARNERS:
        options = kind(4, 2, 1000, tri.Linear(1.0, 0.1, 10), backend=learner).options()
        assert json.loads(json.dumps(options)).keys() == options.keys()


def test_iqn_declares_its_evaluations():
    assert QuantileRegression(None, 8, 8, 32, 1.0, False).evaluations == 3
