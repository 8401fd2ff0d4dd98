"""A network of one's own in JAX: flax, equinox, or a pair of functions."""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import trifolium as tri


class Linen(linen.Module):
    @linen.compact
    def __call__(self, states):
        return linen.Dense(3)(linen.relu(linen.Dense(32)(linen.LayerNorm()(states))))


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(4, 32, rngs=rngs), nnx.Linear(32, 3, rngs=rngs)])

    def __call__(self, states):
        return self.layers[1](nnx.relu(self.layers[0](states)))


class Quantiles(linen.Module):
    """States [B, 4] and fractions [B, N] to [B, N, 3]."""

    @linen.compact
    def __call__(self, states, fractions):
        embedded = jnp.cos(linen.Dense(16)(fractions[..., None]))
        return linen.Dense(3)(linen.relu(linen.Dense(16)(states)[:, None] * embedded))


def init(key, states):
    return [jax.random.normal(key, (states.shape[1], 3)) * 0.1, {"bias": jnp.zeros(3)}]


def apply(params, states):
    return states @ params[0] + params[1]["bias"]


def mlp():
    return equinox.nn.MLP(4, 3, 32, 1, key=jax.random.key(0))


CASES = {  # how a model is made, and what a trained network of that kind computes
    "linen": (tri.DDQN, Linen, lambda trained, *inputs: Linen().apply(trained, *inputs)),
    "nnx": (tri.DDQN, Nnx, lambda trained, *inputs: trained(*inputs)),
    "equinox": (tri.DDQN, mlp, lambda trained, *inputs: jax.vmap(trained)(*inputs)),
    "pair": (tri.DDQN, lambda: (init, apply), apply),
    "quantiles": (tri.IQN, Quantiles, lambda trained, *inputs: Quantiles().apply(trained, *inputs)),
}


def remember(model, steps=300):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        obs = rng.normal(size=4)
        action = int(rng.integers(3))
        model.memory.add(obs, action, obs[action], False)


@pytest.mark.parametrize(
    ("kind", "make", "evaluate"),
    [
        pytest.param(
            *case, id=name, marks=[pytest.mark.slow] if name in ("linen", "nnx", "quantiles") else []
        )
        for name, case in CASES.items()
    ],
)
def test_it_learns_in_the_place_of_the_default_one(kind, make, evaluate, tmp_path):
    options = {"learning_rate": 0.01, "gamma": 0.0, "seed": 1, "batch_size": 32, "n_step": 1}
    if kind is tri.DDQN:
        options["huber_delta"] = None
    model = kind(4, 3, 300, 0.0, backend="jax", network=make(), **options)
    remember(model)
    losses = [float(model.train_step()) for _ in range(300)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])

    trained = model.network
    model.train_step()  # which may reuse the memory of its parameters
    trained = model.network
    states = np.random.default_rng(1).normal(size=(1, 4)).astype(np.float32)
    if kind is tri.DDQN:
        expected = evaluate(trained, states)
    else:
        middles = (np.arange(32, dtype=np.float32) + 0.5)[None] / 32
        expected = evaluate(trained, states, middles).mean(1)
    np.testing.assert_allclose(model.action_values(states), expected[0], rtol=1e-5, atol=1e-6)

    model.save(tmp_path / "model")
    other = kind.from_file(tmp_path / "model", network=make())
    assert np.array_equal(other.action_values(states), model.action_values(states))


def test_what_was_given_can_still_be_used():
    module = Nnx()
    before = module(jnp.ones((1, 4)))
    model = tri.DDQN(4, 3, 300, backend="jax", network=module, batch_size=32, seed=0)
    remember(model)
    for _ in range(3):
        model.train_step()
    assert jnp.array_equal(module(jnp.ones((1, 4))), before)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (len, "flax or equinox, or a pair"),
        ((init,), "flax or equinox, or a pair"),
        ((lambda key, states: {"w": jnp.arange(3)}, apply), "floating arrays"),
        ((lambda key, states: {}, apply), "no parameters"),
    ],
)
def test_what_is_no_network_is_refused(network, message):
    with pytest.raises(TypeError, match=message):
        tri.DDQN(4, 3, 300, backend="jax", network=network)


class Normalised(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.norm, self.dropout = nnx.BatchNorm(4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.layer = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, states):
        return self.layer(self.dropout(self.norm(states)))


def test_layers_that_change_with_a_call_are_refused_unless_evaluated():
    with pytest.raises(TypeError, match=r"changes dropout\.rngs\.count, norm\..*eval\(\)"):
        tri.DDQN(4, 3, 300, backend="jax", network=Normalised())
    module = Normalised()
    module.eval()
    model = tri.DDQN(4, 3, 300, 0.0, backend="jax", network=module, batch_size=32, seed=0)
    remember(model)
    assert float(model.train_step()) > 0
    states = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = np.asarray(model.network(states)).argmax(1)
    assert np.array_equal(model.take_actions(states), expected)


class Joined(nnx.Module):
    """A picture and a vector, each a flat array of the mapping, to [B, 3]."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.eye, self.body = nnx.Linear(24, 16, rngs=rngs), nnx.Linear(3, 16, rngs=rngs)
        self.head = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, states):
        seen = self.eye(states["eye"] / 255) + self.body(states["more"]["body"])
        return self.head(nnx.relu(seen))


def init_joined(key, states):
    return {"eye": jax.random.normal(key, (states["eye"].shape[1], 3)) / 255}


class Row(equinox.Module):
    """One row at a time, as equinox has it."""

    layer: equinox.nn.Linear

    def __call__(self, states):
        return self.layer(states["more"]["body"])


JOINED = {
    "nnx": Joined,
    "pair": lambda: (init_joined, lambda params, states: states["eye"] @ params["eye"]),
    "equinox": lambda: Row(equinox.nn.Linear(3, 3, key=jax.random.key(0))),
}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=[pytest.mark.slow] * (name == "nnx"))
        for name, make in JOINED.items()
    ],
)
def test_a_network_gets_a_mapping(make):
    size = {"eye": ((4, 3), "uint8"), "more": {"body": 3, "legal": ((3,), "bool")}}
    options = {"n_frames": {"eye": 2}, "action_mask": "more/legal", "batch_size": 16, "seed": 0}
    model = tri.DDQN(size, 3, 200, network=make(), backend="jax", **options)
    rng = np.random.default_rng(0)
    for step in range(60):
        legal = np.arange(3) == step % 3
        eye = rng.integers(256, size=(4, 3)).astype("uint8")
        obs = {"eye": eye, "more": {"body": rng.normal(size=3), "legal": legal}}
        stacked = {**obs, "eye": np.stack([eye, eye])}
        assert model.take_action(stacked) == step % 3
        model.memory.add(obs, step % 3, 1.0, step % 10 == 9)
    assert all(np.isfinite(float(model.train_step())) for _ in range(5))
