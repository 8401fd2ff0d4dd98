"""DDQN and IQN: they learn, and do the same on every backend."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium.models import losses

from .remember import remember

DDQN, IQN = tri.DDQN, tri.IQN
OPTIONS = {
    "plain": (DDQN, {}),
    "huber": (DDQN, {"huber_delta": 1.0}),
    "dueling": (DDQN, {"dueling": True}),
    "n-step 3": (DDQN, {"n_step": 3}),
    "frames": (DDQN, {"n_frames": 2}),
    "prioritized": (DDQN, {"sampler": tri.Prioritized}),
    "polyak": (DDQN, {"polyak": 0.05}),
    "clipped": (DDQN, {"max_grad_norm": 0.5}),
    "iqn": (IQN, {}),
    "iqn double": (IQN, {"double": True, "quantiles": 4, "target_quantiles": 6}),
    "iqn n-step 3": (IQN, {"n_step": 3}),
    "iqn prioritized": (IQN, {"sampler": tri.Prioritized}),
}


def make(backend, seed=0, kind=DDQN, **options):
    if "sampler" in options:
        options = options | {"sampler": options["sampler"]()}  # one for each model
    defaults = {"seed": seed, "batch_size": 32, "hidden": (32, 16)}
    return kind(4, 3, 1000, 0.1, backend=backend, **(defaults | options))


@pytest.mark.parametrize(("kind", "options"), OPTIONS.values(), ids=OPTIONS)
def test_losses_agree_with_numpy_over_200_updates(learner, kind, options):
    def curve(backend):
        model = make(backend, kind=kind, **options)
        remember(model)
        return np.array([as_numpy(model.train_step()) for _ in range(200)])

    # twice the distance to NumPy bounds the distance between any two backends: 1e-3
    np.testing.assert_allclose(curve(learner), curve(tri.get_backend("numpy")), rtol=5e-4)


@pytest.mark.parametrize("kind", [DDQN, IQN])
def test_loss_falls(learner, kind):
    model = make(learner, kind=kind, learning_rate=1e-3, gamma=0.5)
    remember(model)
    losses = [float(model.train_step()) for _ in range(300)]
    assert np.mean(losses[-30:]) < 0.7 * np.mean(losses[:30])


def test_loss_is_native_and_scalar(learner):
    model = make(learner)
    remember(model)
    loss = model.train_step()
    assert type(loss) is type(model.memory.states)
    assert tuple(loss.shape) == ()


def test_first_loss_against_a_slow_loop(learner):
    model = make(learner, gamma=0.9)
    remember(model)
    state = model.state()
    params = {k.removeprefix("params."): v for k, v in state.items() if k.startswith("params.")}

    def values(row):
        for layer in ("torso.0", "head.0", "head.1"):
            row = row @ params[f"{layer}.weight"] + params[f"{layer}.bias"]
            row = np.maximum(row, 0) if layer != "head.1" else row
        return row

    twin = make(learner, gamma=0.9)
    remember(twin)
    states, actions, rewards, next_states, dones, valid = map(as_numpy, twin.memory.sample(32))
    total = count = 0.0
    for row in range(32):
        q_next = values(next_states[row])
        target = rewards[row, 0] + 0.9 * (1 - dones[row, 0]) * q_next[np.argmax(q_next)]
        error = values(states[row])[int(actions[row, 0])] - target
        total += valid[row, 0] * error**2
        count += valid[row, 0]
    assert count < 32
    assert float(model.train_step()) == pytest.approx(total / count, rel=1e-4)


def test_nothing_is_learned_until_a_minibatch_can_be_drawn(learner):
    model = make(learner)
    remember(model, steps=32)
    before = model.state()
    assert float(model.train_step()) == 0.0
    for name, array in model.state().items():
        assert np.array_equal(array, before[name])


def test_target_network_is_copied_every_target_update(learner):
    model = make(learner, target_update=3)
    remember(model)
    equal = []
    for _ in range(7):
        model.train_step()
        state = model.state()
        equal.append(np.array_equal(state["params.head.0.weight"], state["target.head.0.weight"]))
    assert equal == [False, False, True, False, False, True, False]


def test_polyak_target_follows_with_every_update(learner):
    model = make(learner, polyak=0.25)
    remember(model)
    before = model.state()
    model.train_step()
    after = model.state()
    for name in ("torso.0.weight", "head.1.bias"):
        old, new = before[f"target.{name}"], after[f"params.{name}"]
        np.testing.assert_allclose(after[f"target.{name}"], old + 0.25 * (new - old), rtol=1e-5)


def test_clipped_gradient_has_the_norm_asked_for(backend):
    grads = {
        "a": backend.from_numpy(np.array([3.0, 0.0], "f4")),
        "b": backend.from_numpy(np.array([[4.0]], "f4")),
    }
    for asked, expected in ((0.5, [0.3, 0.0, 0.4]), (5.0, [3, 0, 4]), (9.0, [3, 0, 4])):
        clipped = losses.clipped(backend.xp, grads, asked)
        found = np.concatenate([as_numpy(clipped[name]).reshape(-1) for name in ("a", "b")])
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_priorities_follow_the_errors(learner):
    model = make(learner, sampler=tri.Prioritized)
    remember(model)
    model.train_step()
    drawn = {float(mass) for mass in model.memory.sampler.state()["leaves"]}
    assert len(drawn) > 20  # zero, the first priority, and those of the rows drawn


def test_epsilon_one_is_uniform_and_zero_is_greedy(learner):
    model = make(learner)
    model.set_epsilon(1.0)
    counts = np.bincount([model.take_action(np.zeros(4)) for _ in range(3000)], minlength=3)
    assert np.sum((counts - 1000) ** 2 / 1000) < 13.8  # chi-square, 2 degrees, p = 0.001
    model.set_epsilon(0.0)
    for state in np.random.default_rng(0).normal(size=(50, 4)):
        assert model.take_action(state) == np.argmax(model.action_values(state))


def test_acting_follows_learning(learner):
    model = make(learner)
    remember(model)
    before = model.action_values(np.ones(4))
    model.train_step()
    assert not np.array_equal(before, model.action_values(np.ones(4)))


@pytest.mark.parametrize("kind", [DDQN, IQN])
def test_saved_model_acts_as_before_on_either_backend(learner, tmp_path, kind):
    model = make(learner, kind=kind)
    remember(model)
    for _ in range(60):
        model.train_step()
    model.save(tmp_path / "model")
    states = np.random.default_rng(1).normal(size=(200, 4))
    for backend in (learner, tri.get_backend("numpy")):
        other = make(backend, seed=5, kind=kind)
        other.load(tmp_path / "model")
        other.epsilon = model.epsilon = 0.0
        for name, array in model.state().items():
            assert np.array_equal(array, other.state()[name]), name
        assert [other.take_action(s) for s in states] == [model.take_action(s) for s in states]


@pytest.mark.parametrize("other", [{"hidden": (8,)}, {"n_frames": 2}])
def test_model_of_other_sizes_is_refused_and_changes_nothing(learner, tmp_path, other):
    make(learner).save(tmp_path / "model")
    model = make(learner, **other)
    before = model.state()
    with pytest.raises(tri.CheckpointError, match=r"this model has"):
        model.load(tmp_path / "model")
    for name, array in model.state().items():
        assert np.array_equal(array, before[name])


def test_model_of_another_class_is_refused(learner, tmp_path):
    tri.RandomModel(4, 3, 100, backend=learner).save(tmp_path / "model")
    with pytest.raises(tri.CheckpointError, match="'RandomModel'; expected a 'DDQN'"):
        make(learner).load(tmp_path / "model")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", 0.0),
        ("batch_size", 0),
        ("target_update", 0),
        ("hidden", (0,)),
        ("gamma", 2.0),
        ("polyak", 1.5),
        ("max_grad_norm", 0.0),
    ],
)
@pytest.mark.parametrize("kind", [DDQN, IQN])
def test_bad_options_are_named(learner, option, value, kind):
    with pytest.raises(ValueError, match=option):
        kind(4, 3, 1000, backend=learner, **{option: value})


def test_mistyped_option_is_named(learner):
    with pytest.raises(TypeError, match="learning_rat'"):
        make(learner, learning_rat=1e-3)


def test_backend_without_gradients_is_refused(backend):
    if backend.capabilities.train:
        make(backend)
    else:
        with pytest.raises(ValueError, match="takes no gradients"):
            make(backend)
