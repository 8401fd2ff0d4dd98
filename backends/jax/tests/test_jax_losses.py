"""Losses that only JAX has, and that none of them is read by the host."""

import jax
import jax.numpy as jnp
import pytest

import trifolium as tri


def train_step_of(loss):
    class Model(tri.BaseModel):
        def take_action(self, state):
            return 0

        def train_step(self):
            return loss

    return Model(4, 2, 100, backend="jax").train_step


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (jnp.asarray(0.5), 0.5),
        (jnp.asarray(0.5, jnp.bfloat16), 0.5),
        ([jnp.asarray(0.5, jnp.bfloat16), jnp.asarray([1.0, 2.0])], [0.5, 1.0, 2.0]),
        (jax.jit(lambda: {"q": jnp.asarray(1.0), "pi": jnp.asarray(2)})(), [2.0, 1.0]),
    ],
)
def test_loss_stays_on_the_device(loss, expected):
    with jax.transfer_guard_device_to_host("disallow"):
        found = train_step_of(loss)()
    assert isinstance(found, jax.Array)
    assert jnp.issubdtype(found.dtype, jnp.floating)
    assert found.tolist() == expected


def test_update_is_not_read_by_the_host():
    model = tri.DDQN(4, 2, 100, backend="jax", batch_size=8, seed=0)
    for step in range(50):
        model.memory.add([step] * 4, 0, 1.0, False)
    model.train_step()
    with jax.transfer_guard_device_to_host("disallow"):
        loss = model.train_step()
    assert loss.shape == ()


def test_update_takes_over_the_memory_of_the_parameters():
    model = tri.DDQN(4, 2, 100, backend="jax", batch_size=8, seed=0)
    for step in range(50):
        model.memory.add([step] * 4, 0, 1.0, False)
    given = model._learned.params["head.0.weight"]
    model.train_step()
    assert given.is_deleted()


def test_update_is_compiled_once():
    model = tri.DDQN(4, 2, 100, backend="jax", batch_size=8, seed=0)
    for step in range(20):
        model.memory.add([step] * 4, 0, 1.0, False)
    for step in range(300):  # through every fill level, and round the ring
        model.memory.add([step] * 4, 0, 1.0, step % 9 == 8)
        model.train_step()
    assert model._compiled._cache_size() == 1
