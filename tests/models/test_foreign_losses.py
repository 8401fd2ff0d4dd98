"""Losses of a framework that is not the model's own."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.testing.loss_cases import returning

pytestmark = pytest.mark.interop


def torch_losses():
    torch = pytest.importorskip("torch")
    graph = torch.tensor([0.5, 2.0], requires_grad=True) * 1
    return {
        "on the graph": graph,
        "bfloat16": graph.bfloat16(),
        "float64": graph.double(),
        "in a list": list(graph),
        "with others": [graph[0], 2.0],
    }


def jax_losses():
    jax = pytest.importorskip("jax")
    array = jax.numpy.asarray([0.5, 2.0])
    return {
        "arrays": array,
        "bfloat16": array.astype("bfloat16"),
        "jitted": jax.jit(lambda x: (x[0], x[1].astype("float16")))(array),
        "with others": [array[0], np.float64(2.0)],
    }


def strict_losses():
    xp = pytest.importorskip("array_api_strict")
    return {"arrays": xp.asarray([0.5, 2.0]), "with others": [xp.asarray(0.5), 2.0]}


FRAMEWORKS = {"torch": torch_losses, "jax": jax_losses, "strict": strict_losses}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_losses_of_any_framework(backend, framework):
    for form, loss in FRAMEWORKS[framework]().items():
        model = returning(tri.BaseModel, lambda: loss)(4, 2, 100, backend=backend)  # noqa: B023
        found = model.train_step()
        assert type(found) is type(model.memory.states), form
        assert backend.to_numpy(found).tolist() == [0.5, 2.0], form


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_what_is_no_loss_is_refused(backend, framework):
    xp = pytest.importorskip({"torch": "torch", "jax": "jax.numpy"}[framework])
    for bad in (xp.asarray([True]), xp.asarray(1j)):
        model = returning(tri.BaseModel, lambda: bad)(4, 2, 100, backend=backend)  # noqa: B023
        with pytest.raises(tri.LossTypeError, match="dtype"):
            model.train_step()
