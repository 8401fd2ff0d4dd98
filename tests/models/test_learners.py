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
    "noisy": (DDQN, {"noisy": True}),
    "noisy dueling": (DDQN, {"noisy": True, "dueling": True}),
    "all of rainbow's": (
        DDQN,
        {"noisy": True, "dueling": True, "n_step": 3, "sampler": tri.Prioritized},
    ),
    # Adam divides by the size of a gradient: a larger epsilon keeps it from blowing up rounding
    "images": (
        DDQN,
        {
            "input_size": (6, 5, 2),
            "convolutions": [(4, 3, 1)],
            "adam_epsilon": 1e-2,
            "huber_delta": 1.0,
        },
    ),
    "scheduled": (DDQN, {"learning_rate": tri.Linear(1e-3, 1e-4, 100)}),
    "iqn": (IQN, {}),
    "iqn dueling": (IQN, {"dueling": True}),
    "iqn noisy": (IQN, {"noisy": True}),
    "iqn double": (IQN, {"double": True, "quantiles": 4, "target_quantiles": 6}),
    "iqn n-step 3": (IQN, {"n_step": 3}),
    "iqn prioritized": (IQN, {"sampler": tri.Prioritized}),
}


ALONE = (
    *("huber", "dueling", "n-step 3", "frames", "polyak", "noisy", "noisy dueling"),
    *("iqn", "iqn dueling", "iqn n-step 3"),
)
"""Options that others of OPTIONS have too, beside more."""
CASES = [
    pytest.param(*case, id=name, marks=[pytest.mark.slow_on("torch", "jax")] if name in ALONE else [])
    for name, case in OPTIONS.items()
]


def make(backend, seed=0, kind=DDQN, input_size=4, **options):
    if "sampler" in options:
        options = options | {"sampler": options["sampler"]()}  # one for each model
    defaults = {"seed": seed, "batch_size": 32, "hidden": (32, 16)}
    return kind(input_size, 3, 1000, 0.1, backend=backend, **(defaults | options))


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_losses_agree_with_numpy_over_200_updates(learner, kind, options):
    updates = 20 if learner.name == "numpy" else 200  # NumPy is compared with itself

    def curve(backend):
        model = make(backend, kind=kind, **options)
        remember(model)
        return np.array([as_numpy(model.train_step()) for _ in range(updates)])

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
    options = {"gamma": 0.9, "n_step": 1, "huber_delta": None}
    model = make(learner, **options)
    remember(model)
    state = model.state()
    params = {k.removeprefix("params."): v for k, v in state.items() if k.startswith("params.")}

    def values(row):
        for layer in ("torso.0", "head.0", "head.1"):
            row = row @ params[f"{layer}.weight"] + params[f"{layer}.bias"]
            row = np.maximum(row, 0) if layer != "head.1" else row
        return row

    twin = make(learner, **options)
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


def test_nothing_is_learned_until_enough_rows_are_valid(learner):
    model = make(learner, n_step=1, sampler=lambda: tri.Uniform(valid_only=True))
    for step in range(100):
        model.memory.add(np.ones(4), 0, 1.0, done=False, truncated=step % 4 > 0)  # one in four is valid
    assert model.memory.drawable >= model.batch_size
    assert float(model.train_step()) == 0.0
    for _ in range(100):
        model.memory.add(np.ones(4), 0, 1.0, done=True)
    assert float(model.train_step()) > 0.0


@pytest.mark.parametrize("action", [-1, 3])
@pytest.mark.parametrize("kind", [DDQN, IQN])
def test_stored_action_that_the_model_lacks_is_named(learner, kind, action):
    model = make(learner, kind=kind, batch_size=4)
    for step in range(6):
        model.memory.add(np.zeros(4), action if step < 5 else 0, 1.0, False)
    before = model.state()
    with pytest.raises(ValueError, match=rf"action {action}; expected 0 to 2, as of action_space=3"):
        model.train_step()
    after = model.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


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


def test_a_batch_of_states_gets_the_actions_that_each_would(learner):
    model = make(learner)
    states = np.random.default_rng(0).normal(size=(20, 4))
    with model.greedy():
        chosen = model.take_actions(states)
        assert chosen.tolist() == [model.take_action(state) for state in states]
    assert chosen.dtype == np.int64
    assert model.take_actions(np.zeros((0, 4))).shape == (0,)
    model.set_epsilon(1.0)
    counts = np.bincount(model.take_actions(np.zeros((3000, 4))), minlength=3)
    assert np.sum((counts - 1000) ** 2 / 1000) < 13.8  # chi-square, 2 degrees, p = 0.001
    with pytest.raises(ValueError, match=r"states have shape \(3, 5\); expected N times 4"):
        model.take_actions(np.zeros((3, 5)))


def test_rows_of_a_batch_explore_one_by_one(learner):
    model = make(learner)
    model.set_epsilon(0.5)
    states = np.zeros((4000, 4))
    with model.greedy():
        best = model.take_action(states[0])
    share = np.mean(model.take_actions(states) == best)
    assert abs(share - (0.5 + 0.5 / 3)) < 0.04


def test_noise_explores_until_asked_to_be_greedy(learner):
    model = make(learner, noisy=True)
    model.set_epsilon(0.0)
    model.action_values(np.ones(4))  # without noise, and so the same each time
    states = np.random.default_rng(0).normal(size=(100, 4)) * 0.1
    assert len({tuple(model.take_actions(states)) for _ in range(20)}) > 1
    with model.greedy():
        assert len({tuple(model.take_actions(states)) for _ in range(20)}) == 1


def test_schedules_count_actions_and_updates(learner):
    model = make(learner, learning_rate=tri.Linear(1e-2, 1e-9, 1))
    remember(model)
    model.train_step()
    before = model.state()["params.head.1.bias"]
    model.train_step()  # at a rate of next to nothing
    np.testing.assert_allclose(model.state()["params.head.1.bias"], before, atol=1e-6)
    model = DDQN(4, 2, 100, tri.Linear(1.0, 0.0, 10), backend=learner)
    seen = []
    for _ in range(3):
        model.take_action(np.zeros(4))
        seen.append(model.epsilon)
    assert seen == pytest.approx([1.0, 0.9, 0.8])
    with model.greedy():
        model.take_action(np.zeros(4))
    model.take_actions(np.zeros((5, 4)))
    assert model.epsilon == pytest.approx(0.7)
    model.take_action(np.zeros(4))
    assert model.epsilon == pytest.approx(0.2)
    model.set_epsilon(0.5)  # ends the schedule
    model.take_action(np.zeros(4))
    assert model.epsilon == 0.5


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
    saved = model.state()
    for backend in (learner, tri.get_backend("numpy")):
        other = make(backend, seed=5, kind=kind)
        other.load(tmp_path / "model")
        other.epsilon = model.epsilon = 0.0
        for name, array in saved.items():
            assert np.array_equal(array, other.state()[name]), name
        assert [other.take_action(s) for s in states] == [model.take_action(s) for s in states]


def test_model_comes_back_with_its_options(learner, tmp_path):
    options = {"dueling": True, "noisy": True, "n_step": 3, "batch_size": 16, "polyak": 0.1}
    model = make(learner, sampler=tri.Prioritized, n_frames=2, extras={"p": "float32"}, **options)
    model.set_epsilon(0.25)
    model.save(tmp_path / "model")
    other = DDQN.from_file(tmp_path / "model", learning_rate=0.5)
    assert other.backend is tri.get_backend(learner.name)  # on its default device
    assert other.design == model.design
    assert other.design.dueling
    assert other.design.noisy
    assert (other.batch_size, other.polyak) == (16, 0.1)
    assert other.memory.spec == model.memory.spec
    assert other.memory.sampler.options == model.memory.sampler.options
    assert (other.epsilon, other.learning_rate) == (0.25, 0.5)
    for name, array in model.state().items():
        assert np.array_equal(array, other.state()[name])


def test_linear_schedules_come_back(learner, tmp_path):
    rate, epsilon = tri.Linear(1e-3, 1e-4, 100), tri.Linear(1.0, 0.5, 10)
    model = DDQN(4, 2, 100, epsilon, learning_rate=rate, backend=learner)
    for _ in range(5):
        model.take_action(np.zeros(4))
    model.save(tmp_path / "model")
    other = DDQN.from_file(tmp_path / "model")
    assert other.learning_rate == rate
    for each in (model, other):
        each.take_action(np.zeros(4))
    assert other.epsilon == model.epsilon == pytest.approx(0.75)


def test_options_that_no_file_holds_have_to_be_given_again(learner, tmp_path):
    def schedule(updates):
        return 1e-3 / (1 + updates)

    make(learner, learning_rate=schedule).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"learning_rate=.*schedule"):
        DDQN.from_file(tmp_path / "model")
    assert DDQN.from_file(tmp_path / "model", learning_rate=schedule).learning_rate is schedule


def test_memory_is_saved_if_asked(learner, tmp_path):
    model = make(learner, sampler=tri.Prioritized, n_step=3)
    remember(model)
    for _ in range(5):
        model.train_step()
    model.save(tmp_path / "with", memory=True)
    model.save(tmp_path / "without")
    other = make(learner, seed=7, sampler=tri.Prioritized, n_step=3)
    other.load(tmp_path / "without")
    assert len(other.memory) == 0
    other.load(tmp_path / "with")
    assert len(other.memory) == len(model.memory)
    again = DDQN.from_file(tmp_path / "with", backend=learner)
    expected = [float(model.train_step()) for _ in range(20)]
    assert [float(other.train_step()) for _ in range(20)] == expected
    assert [float(again.train_step()) for _ in range(20)] == expected


def test_memory_of_another_kind_is_refused_and_changes_nothing(learner, tmp_path):
    model = make(learner)
    remember(model)
    model.save(tmp_path / "model", memory=True)
    other = make(learner, seed=1, n_step=1)
    before = other.state()
    with pytest.raises(tri.CheckpointError, match="n_step=3"):
        other.load(tmp_path / "model")
    assert np.array_equal(other.state()["params.head.1.bias"], before["params.head.1.bias"])
    assert len(other.memory) == 0


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
        ("input_scale", 0.0),
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
    if isinstance(backend, tri.Differentiable):
        make(backend)
    else:
        with pytest.raises(ValueError, match="takes no gradients"):
            make(backend)
