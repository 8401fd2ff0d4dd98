"""JaxModel: parameters are one pytree, updates are compiled."""

import copy
import pickle

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import trifolium as tri
from trifolium_jax import JaxModel

OPTIMIZER = optax.sgd(0.05)


@jax.jit
def update(params, optimizer, batch):
    states, actions, rewards, _, _, valid = batch

    def loss_of(params):
        values = states @ params["weight"] + params["bias"]
        errors = jnp.take_along_axis(values, actions, axis=1) - rewards
        return jnp.mean(errors**2 * valid)

    loss, grads = jax.value_and_grad(loss_of)(params)
    changes, optimizer = OPTIMIZER.update(grads, optimizer)
    return optax.apply_updates(params, changes), optimizer, loss


class Linear(JaxModel):
    def __init__(self, *args, dtype=jnp.float32, outputs=2, **options):
        super().__init__(*args, **options)
        self.params = {
            "weight": jax.random.normal(self.key, (4, outputs), dtype),
            "bias": jnp.zeros(outputs, dtype),
        }
        self.optimizer = OPTIMIZER.init(self.params)

    def take_action(self, state):
        return int(jnp.argmax(jnp.asarray(state) @ self.params["weight"]))

    def train_step(self):
        batch = tuple(self.memory.sample(16))
        self.params, self.optimizer, loss = update(self.params, self.optimizer, batch)
        return loss


def test_learns():
    model = Linear(4, 2, 200, seed=0)
    rng = np.random.default_rng(0)
    for step in range(150):
        obs = rng.normal(size=4)
        model.memory.add(obs, step % 2, obs.sum() * (step % 2), False)
    with jax.transfer_guard_device_to_host("disallow"):
        losses = [model.train_step() for _ in range(200)]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_saves_its_parameters(tmp_path, dtype):
    model = Linear(4, 2, 100, seed=0, dtype=dtype)
    model.save(tmp_path / "model")
    other = Linear(4, 2, 100, seed=1, dtype=dtype)
    other.load(tmp_path / "model")
    assert jax.tree.all(jax.tree.map(jnp.array_equal, model.params, other.params))
    assert other.params["weight"].dtype == dtype


def test_file_of_other_parameters_changes_nothing(tmp_path):
    Linear(4, 2, 100, outputs=3).save(tmp_path / "model")
    model = Linear(4, 2, 100, seed=0)
    before = model.params
    with pytest.raises(tri.CheckpointError, match=r"\['bias'\]"):
        model.load(tmp_path / "model")
    assert model.params is before


def test_same_seed_same_parameters():
    one, two = (Linear(4, 2, 100, seed=3).params["weight"] for _ in range(2))
    assert jnp.array_equal(one, two)


class Module(nnx.Module):
    def __init__(self, seed):
        rngs = nnx.Rngs(seed)
        self.layer, self.dropout = nnx.Linear(4, 2, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, states):
        return self.dropout(self.layer(states))


PYTREES = {
    "equinox": lambda seed: equinox.nn.MLP(4, 2, 8, 1, key=jax.random.key(seed)),
    "nnx": Module,
    "keys and numbers": lambda seed: {"key": jax.random.key(seed), "count": seed, "rate": seed / 2},
    "one array": lambda seed: jnp.full(3, seed),
}


class Holder(JaxModel):
    def __init__(self, params, **options):
        super().__init__(4, 2, 100, **options)
        self.params = params

    def take_action(self, state):
        return 0


def data(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not callable(leaf)]
    is_key = lambda leaf: jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in leaves]


@pytest.mark.parametrize("make", PYTREES.values(), ids=PYTREES)
def test_saves_any_pytree_and_its_key(tmp_path, make):
    model = Holder(make(1), seed=0)
    if isinstance(model.params, nnx.Module):
        model.params(jnp.ones((1, 4)))  # which counts what dropout drew
    model.key, _ = jax.random.split(model.key)
    model.save(tmp_path / "model")
    other = Holder(make(2), seed=5)
    kinds = [type(leaf) for leaf in jax.tree.leaves(other.params)]
    other.load(tmp_path / "model")
    assert [type(leaf) for leaf in jax.tree.leaves(other.params)] == kinds
    assert len(data(model.params)) > 0
    for old, new in zip(data(model.params), data(other.params), strict=True):
        np.testing.assert_array_equal(old, new)
    assert jnp.array_equal(jax.random.key_data(other.key), jax.random.key_data(model.key))


def test_file_of_a_version_that_saved_no_key(tmp_path, monkeypatch):
    model = Linear(4, 2, 100, seed=0)
    monkeypatch.setattr(model, "key", None)
    model.save(tmp_path / "model")
    other = Linear(4, 2, 100, seed=1)
    key = other.key
    other.load(tmp_path / "model")
    assert other.key is key
    assert jnp.array_equal(other.params["weight"], model.params["weight"])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_does_what_the_original_would(copied):
    model = Linear(4, 2, 200, seed=0)
    for step in range(150):
        model.memory.add(np.full(4, step / 150), step % 2, step / 150, False)
    model.train_step()
    other = copied(model)
    assert other.backend is model.backend
    expected = [float(model.train_step()) for _ in range(5)]
    assert [float(other.train_step()) for _ in range(5)] == expected
    assert jnp.array_equal(jax.random.key_data(other.key), jax.random.key_data(model.key))


class Structured(JaxModel):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.params = {"place": jnp.zeros((4, 2)), "eye": jnp.zeros((12, 2))}

    def take_action(self, state):
        flat = self.flat_state(state)
        values = flat["place"] @ self.params["place"] + flat["more"]["eye"] @ self.params["eye"]
        return int(jnp.argmax(jnp.where(self.mask.of_state(state), values, -jnp.inf)))

    def train_step(self):
        states, actions, rewards, _, _, valid = self.memory.sample(16)

        def loss_of(params):
            values = states["place"] @ params["place"] + states["more"]["eye"] @ params["eye"] / 255
            errors = jnp.take_along_axis(values, actions, axis=1) - rewards
            return jnp.mean(errors**2 * valid)

        loss, grads = jax.value_and_grad(loss_of)(self.params)
        self.params = jax.tree.map(lambda value, grad: value - 0.05 * grad, self.params, grads)
        return loss


def test_observations_may_be_mappings(tmp_path):
    size = {"place": 2, "more": {"eye": ((4, 3), "uint8"), "legal": ((2,), "bool")}}
    options = {"n_frames": {"place": 2}, "action_mask": "more/legal"}
    model = Structured(size, 2, 200, seed=0, **options)
    rng = np.random.default_rng(0)
    for step in range(80):
        legal = np.arange(2) == step % 2
        eye = rng.integers(256, size=(4, 3)).astype("uint8")
        obs = {"place": rng.normal(size=2), "more": {"eye": eye, "legal": legal}}
        assert model.take_action({**obs, "place": np.stack([obs["place"]] * 2)}) == step % 2
        model.memory.add(obs, step % 2, obs["place"].sum() * (step % 2), False)
    losses = [float(model.train_step()) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    model.save(tmp_path / "model", memory=True)
    other = Structured(size, 2, 200, seed=1, **options)
    other.load(tmp_path / "model")
    assert float(other.train_step()) == float(model.train_step())
