"""A model saved on one backend acts the same on every other; `nox -s interop` has all of them."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy

from .remember import remember

pytestmark = pytest.mark.interop

KINDS = {
    "ddqn": (tri.DDQN, {"dueling": True}),
    "ddqn noisy": (tri.DDQN, {"noisy": True, "sampler": tri.Prioritized}),
    "iqn": (tri.IQN, {"n_step": 3}),
}


@pytest.fixture(params=["numpy", "torch", "jax"])
def other(request):
    if not tri.backends()[request.param].installed:
        pytest.skip(f"{request.param} is not installed")
    return tri.get_backend(request.param)


STRUCTURED = {"image": ((6, 5), "uint8"), "more": {"place": 3, "legal": ((5,), "int8")}}


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])
def test_structured_observations_and_a_mask(learner, other, tmp_path, kind):
    options = {"n_frames": {"image": 2}, "convolutions": [(4, 3, 1)], "action_mask": "more/legal"}
    model = kind(STRUCTURED, 5, 500, 0.3, backend=learner, seed=0, batch_size=32, **options)
    remember(model, steps=200)
    for _ in range(10):
        model.train_step()
    model.save(tmp_path / "model", memory=True)
    loaded = kind.from_file(tmp_path / "model", backend=other)
    assert loaded.options() == model.options()
    assert loaded.memory.spec.leaves == model.memory.spec.leaves
    batch = model.memory.sample(64)
    states = {
        "image": as_numpy(batch.states["image"]),
        "more": {name: as_numpy(part) for name, part in batch.states["more"].items()},
    }
    legal = states["more"]["legal"] != 0
    for at_once in (model.take_actions, loaded.take_actions):
        assert legal[np.arange(64), at_once(states)].all()
    with model.greedy(), loaded.greedy():
        assert np.array_equal(loaded.take_actions(states), model.take_actions(states))
    loaded.load(tmp_path / "model")
    model.load(tmp_path / "model")
    for _ in range(3):
        np.testing.assert_allclose(float(loaded.train_step()), float(model.train_step()), rtol=1e-4)


@pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
def test_same_greedy_actions_on_1000_states(learner, other, tmp_path, kind, options):
    if "sampler" in options:
        options = options | {"sampler": options["sampler"]()}
    model = kind(4, 5, 1000, 0.3, backend=learner, seed=0, batch_size=32, **options)
    remember(model)
    for _ in range(30):
        model.train_step()
    model.save(tmp_path / "model", memory=True)
    loaded = kind.from_file(tmp_path / "model", backend=other)
    assert loaded.backend is other
    assert loaded.epsilon == 0.3
    states = np.random.default_rng(1).normal(size=(1000, 4)).astype(np.float32)
    with model.greedy(), loaded.greedy():
        chosen = model.take_actions(states)
        assert len(set(chosen.tolist())) > 1
        assert np.array_equal(loaded.take_actions(states), chosen)
        assert [loaded.take_action(state) for state in states] == chosen.tolist()
    # optimizer, target network, generator and memory came along too
    for _ in range(5):
        np.testing.assert_allclose(float(loaded.train_step()), float(model.train_step()), rtol=1e-4)
