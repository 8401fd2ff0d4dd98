"""JaxModel: parameters are one pytree, updates are compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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
