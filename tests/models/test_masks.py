"""Action masks: no other action is taken or chosen in targets, on every backend."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium.models import masks
from trifolium.models.algorithm import Randomness
from trifolium.models.ddqn import QLearning

from .remember import observed, remember

A = 5
SIZE = {"board": 3, "info": {"mask": ((A,), "int8")}}
OPTIONS = {"hidden": (8,), "batch_size": 64, "seed": 0, "action_mask": "info/mask"}
KINDS = pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])


def make(backend, kind=tri.DDQN, **options):
    return kind(SIZE, A, 400, backend=backend, **OPTIONS | options)


def state_of(mask, seed=0):
    return {"board": np.random.default_rng(seed).normal(size=3), "info": {"mask": np.array(mask)}}


# Acting


@pytest.fixture(scope="module")
def models():
    """Return models by name, made when they are asked for: hypothesis calls a test many times."""
    made: dict[Any, Any] = {}

    def model(backend, kind):
        if (backend, kind) not in made:
            made[backend, kind] = make(backend, kind)
        return made[backend, kind]

    return model


MASKS = st.lists(
    st.lists(st.sampled_from([0, 0, 1, -1]), min_size=A, max_size=A), min_size=1, max_size=6
)


@KINDS
@settings(max_examples=60, deadline=None)
@given(rows=MASKS, epsilon=st.sampled_from([0.0, 0.4, 1.0]), size=st.sampled_from([1.0, 1e30, 1e38]))
def test_no_illegal_action_is_ever_taken(backend, models, kind, rows, epsilon, size):
    """Values that overflow make no difference; -1 stands for no action where none is legal."""
    if not isinstance(backend, tri.Differentiable):
        kind = tri.RandomModel
        model = kind(SIZE, A, 400, backend=backend, action_mask="info/mask", seed=0)
    else:
        model = models(backend, kind)
        model.epsilon = epsilon
    mask = np.array(rows, np.int8)
    boards = np.random.default_rng(len(rows)).normal(size=(len(rows), 3)) * size
    with np.errstate(all="ignore"):
        actions = model.take_actions({"board": boards, "info": {"mask": mask}})
        for board, legal, action in zip(boards, mask, actions, strict=True):
            assert legal[action] if legal.any() else action == masks.NO_ACTION
            state = {"board": board, "info": {"mask": legal}}
            if legal.any():
                assert legal[model.take_action(state)]
            else:
                with pytest.raises(ValueError, match=r"no action is legal: state\['info'\]\['mask'\]"):
                    model.take_action(state)


@pytest.mark.parametrize("kind", [tri.DDQN, tri.RandomModel])
def test_exploring_is_uniform_over_the_legal_actions(learner, kind):
    options = OPTIONS if kind is tri.DDQN else {"seed": 0, "action_mask": "info/mask"}
    model = kind(SIZE, A, 400, 1.0, backend=learner, **options)
    mask = np.tile(np.array([1, 0, 1, 0, 1], np.int8), (6000, 1))
    states = {"board": np.zeros((6000, 3)), "info": {"mask": mask}}
    counts = np.bincount(model.take_actions(states), minlength=A)
    assert counts[[1, 3]].tolist() == [0, 0]
    expected = 6000 / 3
    assert ((counts[[0, 2, 4]] - expected) ** 2 / expected).sum() < 13.8  # chi-square, 2 degrees, 0.001


def test_epsilon_is_the_part_of_random_actions(learner):
    model = make(learner, epsilon=0.25)
    mask = np.ones((4000, A), np.int8)
    mask[:, 2] = 0
    states = {"board": np.zeros((4000, 3)), "info": {"mask": mask}}
    with model.greedy():
        best = model.take_actions(states)
    assert len(set(best.tolist())) == 1
    others = (model.take_actions(states) != best).mean()
    assert others == pytest.approx(0.25 * 3 / 4, abs=0.03)


@KINDS
def test_greedy_takes_the_best_legal_action(learner, kind):
    model = make(learner, kind, epsilon=0.0)
    full = model.action_values(state_of([1] * A))
    order = np.argsort(-full)
    for dropped in range(A):
        mask = np.ones(A)
        mask[order[:dropped]] = 0
        assert model.take_action(state_of(mask)) == order[dropped]
        values = model.action_values(state_of(mask))
        assert np.array_equal(np.isneginf(values), mask == 0)
        np.testing.assert_allclose(values[mask != 0], full[mask != 0])


def test_the_newest_frame_counts(learner):
    model = make(learner, n_frames={"board": 2, "info": 3}, epsilon=0.5)
    old, new = [0, 1, 0, 1, 1], [0, 0, 1, 0, 0]
    stacked = {"board": np.zeros((2, 3)), "info": {"mask": np.array([old, old, new])}}
    assert {model.take_action(stacked) for _ in range(20)} == {2}


@dataclass(frozen=True)
class Deaf(QLearning):
    """An algorithm that ignores masks."""

    mask: None = None


class DeafModel(tri.DDQN):
    def make_algorithm(self, network):
        return Deaf(network, self.huber_delta, self.double)


def test_an_algorithm_that_ignores_the_mask_is_refused(learner):
    with pytest.raises(TypeError, match="action_mask='info/mask': Deaf has no field mask"):
        DeafModel(SIZE, A, 400, backend=learner, action_mask="info/mask")
    assert DeafModel(SIZE, A, 400, backend=learner).mask is None


@pytest.mark.parametrize(
    ("size", "name", "message"),
    [
        (
            SIZE,
            "mask",
            "action_mask='mask' is not a part of the observation, which has 'board', 'info/mask'",
        ),
        (SIZE, "info", "action_mask='info' is not a part"),
        (SIZE, "board", r"action_mask='board' has shape \(3,\) and dtype float32.*expected \(5,\)"),
        ({"m": ((4,), "bool")}, "m", r"has shape \(4,\) and dtype bool.*action_space=5"),
        ({"m": ((5,), "float32")}, "m", "has shape.*float32.*one of bool, uint8, int8"),
        (4, "m", r"action_mask='m', but observations are one array of shape \(4,\).*input_size=\{"),
        (SIZE, 3, "action_mask=3 is a int; expected the name"),
    ],
)
@pytest.mark.parametrize("kind", [tri.DDQN, tri.RandomModel])
def test_wrong_masks_are_named(learner, kind, size, name, message):
    with pytest.raises((ValueError, TypeError), match=message):
        kind(size, A, 400, action_mask=name, backend=learner)


def test_a_network_takes_more_than_the_mask(learner):
    with pytest.raises(ValueError, match="no part but the action mask"):
        tri.DDQN({"m": ((5,), "bool")}, A, 400, action_mask="m", backend=learner)


def test_the_mask_is_fixed_and_saved(learner, tmp_path):
    model = make(learner)
    with pytest.raises(AttributeError, match="action_mask='info/mask' is compiled"):
        model.action_mask = None
    model.save(tmp_path / "model")
    assert tri.DDQN.from_file(tmp_path / "model").action_mask == "info/mask"
    assert tri.DDQN.from_file(tmp_path / "model").mask == model.mask


# Targets


def trained(backend, kind, **options):
    """Return a model whose target network differs from its network."""
    model = make(backend, kind, target_update=10**6, learning_rate=0.05, **options)
    remember(model)
    for _ in range(10):
        model.train_step()
    return model


def part(model, group):
    prefix = f"{group}."
    return {
        name.removeprefix(prefix): array
        for name, array in model.state().items()
        if name.startswith(prefix)
    }


def rows_of(model):
    """Return a batch with states in float32, in which terminated rows end without a legal action."""
    batch, backend = model.memory.sample(64), model.backend
    over = as_numpy(batch.dones)

    def floats(states, kept):
        mask = (as_numpy(states["info"]["mask"]) * kept).astype(np.float32)
        return {"board": states["board"], "info": {"mask": backend.from_numpy(mask)}}

    batch.states, batch.next_states = floats(batch.states, 1), floats(batch.next_states, 1 - over)
    return batch


def next_state(batch, number):
    board, mask = batch.next_states["board"], batch.next_states["info"]["mask"]
    found = {"board": as_numpy(board)[[number]], "info": {"mask": as_numpy(mask)[[number]]}}
    return found, np.flatnonzero(found["info"]["mask"][0]).tolist()


@pytest.mark.parametrize("double", [True, False])
def test_targets_against_a_slow_loop(learner, double):
    model = trained(learner, tri.DDQN, double=double, n_step=2)
    ours, theirs, batch = part(model, "params"), part(model, "target"), rows_of(model)
    algorithm, learned = model.update.algorithm, model.progress.learned
    found = as_numpy(algorithm.targets(learner.xp, learned.params, learned.target, batch, Randomness()))
    network = model.make_network(model.design.torso(None), model.design.head)
    differs = blocked = 0
    for number in range(64):
        state, legal = next_state(batch, number)
        rated = network.apply(np, theirs, None, state)[0]
        chooser = network.apply(np, ours, None, state)[0] if double else rated
        reward, discount, done = (
            float(as_numpy(column)[number, 0])
            for column in (batch.rewards, batch.discounts, batch.dones)
        )
        assert np.isfinite(found[number, 0])
        if not legal:
            blocked += 1
            assert done == 1
            assert found[number, 0] == pytest.approx(reward, rel=1e-5)
            continue
        best = legal[0]
        for action in legal:
            if chooser[action] > chooser[best]:
                best = action
        differs += best != int(np.argmax(chooser))
        expected = reward + discount * (1 - done) * rated[best]
        assert found[number, 0] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert differs > 10
    assert blocked > 0


@pytest.mark.parametrize("double", [True, False])
def test_quantile_targets_against_a_slow_loop(learner, double):
    model = trained(
        learner, tri.IQN, double=double, cosines=8, action_quantiles=4, target_quantiles=3, n_step=1
    )
    ours, theirs, batch = part(model, "params"), part(model, "target"), rows_of(model)
    algorithm, learned = model.update.algorithm, model.progress.learned
    drawn = algorithm.draw(np.random.default_rng(0), 64)
    native = tuple(learner.from_numpy(array.copy()) for array in drawn)
    found = as_numpy(
        algorithm.targets(learner.xp, learned.params, learned.target, batch, Randomness(None, native))
    )
    assert np.all(np.isfinite(found))
    network = model.make_network(model.design.torso(None), model.design.head)
    differs = 0
    for number in range(64):
        state, legal = next_state(batch, number)
        if not legal:
            continue
        chooser = network.apply(np, ours if double else theirs, None, state, drawn[2][[number]])[0]
        means = chooser.mean(axis=0)
        best = max(legal, key=lambda action: means[action])
        differs += best != int(np.argmax(means))
        quantiles = network.apply(np, theirs, None, state, drawn[1][[number]])[0][:, best]
        reward, discount, done = (
            float(as_numpy(column)[number, 0])
            for column in (batch.rewards, batch.discounts, batch.dones)
        )
        expected = reward + discount * (1 - done) * quantiles
        np.testing.assert_allclose(found[number], expected, rtol=1e-4, atol=1e-5)
    assert differs > 10


@KINDS
def test_the_loss_is_finite_where_episodes_end_without_legal_actions(learner, kind):
    model = make(learner, kind, n_step=1)
    rng = np.random.default_rng(0)
    for _ in range(80):
        model.memory.add(observed(model.memory.spec, rng), 0, 1.0, True)
        blank = {"board": np.zeros(3), "info": {"mask": np.zeros(A, np.int8)}}
        model.memory.add(blank, 0, 1.0, True)  # the successor that the memory gives of the row before
    losses = [float(model.train_step()) for _ in range(40)]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0]  # all targets are 1


def test_legal_only_by_hand(backend):
    xp = backend.xp
    values = backend.from_numpy(np.array([[3, -np.inf, 1], [np.nan, 5, 2], [1, 2, 3]], "float32"))
    legal = backend.from_numpy(np.array([[False, True, False], [True, True, False], [False] * 3]))
    found = masks.legal_only(xp, values, legal)
    assert as_numpy(xp.argmax(found, axis=1)).tolist() == [1, 0, 0]
    assert np.isneginf(as_numpy(found)[2]).all()
