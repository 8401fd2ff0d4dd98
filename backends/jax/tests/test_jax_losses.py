"""Losses of a JaxModel, those that only JAX has, and that none of them is waited for."""

from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trifolium as tri
from trifolium.testing import LossSuite
from trifolium.testing.loss_cases import returning
from trifolium_jax import JaxModel

Losses = namedtuple("Losses", ["actor", "critic"])


class TestJaxModel(LossSuite):
    base = JaxModel

    def made(self, model, backend):
        return model(4, 2, 100)


def train_step_of(make, base=tri.BaseModel, **options):
    return returning(base, make)(4, 2, 100, **options)


KINDS = {
    "BaseModel": lambda make: train_step_of(make, backend="jax"),
    "JaxModel": lambda make: train_step_of(make, JaxModel),
}

# What a train_step makes of the number 0.5, and what its caller gets.
JAX = {
    "0-d": (lambda x: x, 0.5, ()),
    "1-d": (lambda x: jnp.stack([x, 2 * x]), [0.5, 1.0], ()),
    "1-d of one": (lambda x: x[None], 0.5, ()),
    "2-d": (lambda x: jnp.full((2, 2), x), [0.5] * 4, ()),
    "float16": (lambda x: x.astype(jnp.float16), 0.5, ()),
    "bfloat16": (lambda x: x.astype(jnp.bfloat16), 0.5, ()),
    "several bfloat16": (lambda x: jnp.full((2,), x, jnp.bfloat16), [0.5, 0.5], ()),
    "8-bit float": (lambda x: x.astype(jnp.float8_e4m3fn), 0.5, ()),
    "integer": (lambda x: (4 * x).astype(jnp.int32), 2.0, ()),
    "integers": (lambda x: jnp.full((2,), 4 * x).astype(jnp.uint8), [2.0, 2.0], ()),
    "nan": (lambda x: jnp.log(-x), float("nan"), ()),
    "of several dtypes": (
        lambda x: [x.astype(jnp.bfloat16), x, (4 * x).astype(jnp.int8), 3, np.float64(4)],
        [0.5, 0.5, 2.0, 3.0, 4.0],
        (),
    ),
    "tuple": (lambda x: (x, None), [0.5, 0.0], ()),
    "named tuple": (lambda x: Losses(x, 2 * x), [0.5, 1.0], ()),
    "generator": (lambda x: (k * x for k in (1, 2)), [0.5, 1.0], ()),
    "mapping": (lambda x: {"pi": x, "q": [x, 2 * x]}, [0.5, 0.5, 1.0], ("pi", "q.0", "q.1")),
    "jitted": (jax.jit(lambda x: 2 * x), 1.0, ()),
    "jitted, nested": (
        jax.jit(lambda x: {"q": [x, 2 * x], "pi": Losses(x.astype(jnp.bfloat16), 3)}),
        [0.5, 3.0, 0.5, 1.0],  # jit sorts the keys
        ("pi.0", "pi.1", "q.0", "q.1"),
    ),
    "jitted, one of several": (lambda x: jax.jit(lambda x: (jnp.ones(3), x))(x)[1], 0.5, ()),
    "jitted gradient": (lambda x: jax.jit(jax.value_and_grad(lambda x: x**2))(x)[0], 0.25, ()),
    "vmapped": (lambda x: jax.vmap(lambda k: k * x)(jnp.arange(3.0)), [0.0, 0.5, 1.0], ()),
    "scanned": (
        lambda x: jax.lax.scan(lambda total, k: (total + k, total), x, jnp.ones(3))[1],
        [0.5, 1.5, 2.5],
        (),
    ),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=name, marks=[] if name == "JaxModel" else pytest.mark.slow)
        for name, kind in KINDS.items()
    ],
)
@pytest.mark.parametrize(("make", "value", "names"), JAX.values(), ids=JAX)
def test_accepted_without_waiting(kind, make, value, names, pending):
    model = kind(lambda: make(pending.number))
    with jax.transfer_guard_device_to_host("disallow"):
        loss = model.train_step()
    assert not pending.was_waited_for(loss)
    assert isinstance(loss, jax.Array)
    assert jnp.issubdtype(loss.dtype, jnp.floating)
    assert model.loss_names == names
    pending.come()
    np.testing.assert_array_equal(np.asarray(loss, np.float32), value)


READERS = {
    "float": float,
    "bool": bool,
    "item": lambda array: array.item(),
    "tolist": lambda array: array.tolist(),
    "asarray": np.asarray,
    "buffer": memoryview,
    "device_get": jax.device_get,
    "block_until_ready": jax.block_until_ready,
    "repr": repr,
}


@pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="the number is there; test_guard_sees_a_read"
)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_reading_would_wait(read, pending):
    loss = 2 * pending.number
    pending.come_soon()
    read(loss)
    assert pending.has_come


@pytest.mark.skipif(jax.default_backend() == "cpu", reason="a CPU is its own host: nothing is moved")
def test_guard_sees_a_read():
    with (
        jax.transfer_guard_device_to_host("disallow"),
        pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed"),
    ):
        np.asarray(jnp.ones(3) * 2)


@pytest.mark.parametrize("algorithm", [tri.DDQN, tri.IQN])
def test_update_is_not_waited_for(algorithm, request):
    model = algorithm(4, 2, 100, backend="jax", batch_size=8, seed=0)
    for step in range(50):
        model.memory.add([step] * 4, 0, 1.0, False)
    model.train_step()
    pending = request.getfixturevalue("pending")  # now: a large program is not compiled meanwhile
    model._learned.params["head.0.bias"] += pending.number
    with jax.transfer_guard_device_to_host("disallow"):
        loss = model.train_step()
    assert not pending.was_waited_for(loss)
    pending.come()
    assert np.isfinite(float(loss))


# What is refused


def leaked(make):
    """Return what ``make`` makes inside a jitted function, after that is over."""
    kept = []

    @jax.jit
    def step(x):
        kept.append(make(x))
        return x

    step(1.0)
    return kept[0]


REFUSED = {
    "bool": (lambda: jnp.asarray(True), "bool"),
    "bools": (lambda: jnp.asarray([True, False]), "bool"),
    "complex": (lambda: jnp.asarray(1j), "complex64"),
    "a key": (lambda: jax.random.key(0), "key"),
    "a gradient of integers": (lambda: np.zeros(3, jax.dtypes.float0), "float0"),
    "a shape": (lambda: jax.eval_shape(lambda: jnp.ones(())), "ShapeDtypeStruct"),
    "nothing": (lambda: jnp.zeros((0,)), "no loss"),
    "leaked tracer": (lambda: leaked(lambda x: x), "Tracer"),
    "leaked vector": (lambda: leaked(lambda x: x * jnp.ones(3)), "Tracer"),
    "leaked integer": (lambda: leaked(lambda x: x.astype(int)), "Tracer"),
    "leaked in a mapping": (lambda: {"q": [1.0, leaked(lambda x: x)]}, "Tracer"),
}


@pytest.mark.parametrize("base", [tri.BaseModel, JaxModel])
@pytest.mark.parametrize(("make", "word"), REFUSED.values(), ids=REFUSED)
def test_refused(base, make, word):
    options = {} if base is JaxModel else {"backend": "jax"}
    with pytest.raises(tri.LossTypeError, match=f"train_step returned .*{word}"):
        train_step_of(make, base, **options).train_step()


def test_leaked_tracer_of_a_numpy_model_is_refused():
    with pytest.raises(tri.LossTypeError, match="Tracer"):
        train_step_of(lambda: leaked(lambda x: x), backend="numpy").train_step()


# Transformations around a train_step


class Square(JaxModel):
    """A model whose train_step is pure: it can be transformed."""

    def take_action(self, state):
        return 0

    def train_step(self, x):
        return {"square": x**2}


def test_train_step_inside_a_transformation():
    model = Square(4, 2, 100)
    assert float(jax.jit(model.train_step)(3.0)) == 9.0
    assert jax.vmap(model.train_step)(jnp.arange(3.0)).tolist() == [0.0, 1.0, 4.0]
    assert float(jax.grad(model.train_step)(3.0)) == 0.0  # it is detached
    assert float(model.train_step(2.0)) == 4.0


def test_train_step_that_is_jitted():
    class Model(JaxModel):
        def take_action(self, state):
            return 0

        train_step = jax.jit(lambda self: {"q": jnp.ones(2)}, static_argnums=0)

    model = Model(4, 2, 100)
    assert model.train_step().tolist() == [1.0, 1.0]
    assert model.loss_names == ("q.0", "q.1")


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
    assert model._compiled.__wrapped__._cache_size() == 1
