"""A network of one's own on NumPy: parameters, and a function of them."""

import numpy as np
import pytest

import trifolium as tri


def init(rng):
    return {"in": rng.normal(size=(4, 16)) * 0.3, "out": rng.normal(size=(16, 3)) * 0.1}


def apply(xp, params, states):
    return xp.tanh(states @ params["in"]) @ params["out"]


def remember(model, steps=300):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        obs = rng.normal(size=4)
        action = int(rng.integers(3))
        model.memory.add(obs, action, obs[action], False)


@pytest.mark.parametrize("first", [init, init(np.random.default_rng(0))], ids=["init", "params"])
def test_it_learns_in_the_place_of_the_default_one(first):
    model = tri.DDQN(4, 3, 300, 0.0, network=(first, apply), learning_rate=0.01, gamma=0.0, seed=0)
    remember(model)
    losses = [float(model.train_step()) for _ in range(300)]
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:20])
    states = np.random.default_rng(1).normal(size=(10, 4)).astype(np.float32)
    expected = np.argmax(apply(np, model.network, states), axis=1)
    assert np.array_equal(model.take_actions(states), expected)


def test_what_was_given_is_not_written_to():
    params = init(np.random.default_rng(0))
    before = {name: value.copy() for name, value in params.items()}
    model = tri.DDQN(4, 3, 300, 0.0, network=(params, apply), seed=0)
    remember(model)
    model.train_step()
    trained = model.network
    assert all(np.array_equal(value, params[name]) for name, value in before.items())
    assert not np.array_equal(trained["out"], params["out"])
    trained["out"][:] = 0
    assert model.network["out"].any()


@pytest.mark.parametrize("network", [apply, (init,), (apply, None), ({}, apply), object()])
def test_what_is_no_network_is_refused(network):
    with pytest.raises(TypeError, match=r"a pair \(init, apply\)"):
        tri.DDQN(4, 3, 300, network=network)


def test_options_of_the_default_network_make_no_sense_with_it():
    with pytest.raises(ValueError, match="dueling=True describes the network that network= replaces"):
        tri.DDQN(4, 3, 300, network=(init, apply), dueling=True)


def test_compilation_is_refused():
    with pytest.raises(ValueError, match="compile=True: backend='numpy' has no compiler"):
        tri.DDQN(4, 3, 300, compile=True)
