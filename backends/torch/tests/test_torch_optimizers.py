"""``optimizer=`` takes the classes of ``torch.optim``."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import trifolium as tri

OPTIONS: dict[str, Any] = {"hidden": (8,), "batch_size": 16, "n_step": 1, "seed": 0, "backend": "torch"}
CLASSES = {
    "Adam": torch.optim.Adam,
    "AdamW": partial(torch.optim.AdamW, weight_decay=0.1),
    "SGD": partial(torch.optim.SGD, momentum=0.9, dampening=0.1),
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": partial(torch.optim.Adagrad, initial_accumulator_value=0.1),
    "NAdam": torch.optim.NAdam,
}


def filled(**options: Any) -> tri.DDQN:
    model = tri.DDQN(3, 2, 100, **OPTIONS | options)
    rng = np.random.default_rng(0)
    for step in range(60):
        model.memory.add(rng.normal(size=3).astype(np.float32), step % 2, 1.0, step % 10 == 9)
    return model


def losses(model: tri.DDQN, count: int) -> list[float]:
    return [float(model.train_step()) for _ in range(count)]


def test_torchs_adam_is_the_default() -> None:
    ours, theirs = filled(), filled(optimizer=torch.optim.Adam)
    np.testing.assert_allclose(losses(ours, 20), losses(theirs, 20), rtol=1e-4)


@pytest.mark.parametrize("name", CLASSES)
def test_steps_are_those_of_torch(name: str) -> None:
    make = CLASSES[name]
    optimizer = tri.get_backend("torch").optimizer(make)
    params = {"a": torch.ones(3), "b": torch.full((2, 2), 2.0)}
    leaves = [value.clone() for value in params.values()]
    theirs = make(leaves, lr=0.1)
    state = optimizer.init(params)
    for step in range(5):
        rate = 0.1 / (step + 1)
        theirs.param_groups[0]["lr"] = rate
        grads = {name: torch.full_like(value, step - 1.5) for name, value in params.items()}
        for leaf, grad in zip(leaves, grads.values(), strict=True):
            leaf.grad = grad.clone()
        theirs.step()
        params, state = optimizer.step(params, grads, state, rate)
        for ours, leaf in zip(params.values(), leaves, strict=True):
            assert torch.equal(ours, leaf)


@pytest.mark.parametrize("updates", [0, 5])
@pytest.mark.parametrize("name", CLASSES)
def test_its_state_is_saved_and_loaded(name: str, updates: int, tmp_path: Any) -> None:
    model = filled(optimizer=CLASSES[name])
    losses(model, updates)
    model.save(tmp_path / "model", memory=True)
    again = tri.DDQN(3, 2, 100, optimizer=CLASSES[name], **OPTIONS)
    for _ in range(2):  # also into a model that has made updates
        again.load(tmp_path / "model")
        following = losses(again, 5)
    assert following == losses(model, 5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.optim.LBFGS, "can't be used: .*closure"),
        (torch.optim.SparseAdam, "can't be used: .*dense"),
        (partial(torch.optim.SGD, lr=0.1), "give learning_rate= instead"),
        (torch.optim.SGD([torch.ones(1)], lr=0.1), "a class of torch.optim"),
    ],
    ids=["LBFGS", "SparseAdam", "lr", "instance"],
)
def test_what_cannot_be_used_is_refused(wrong: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        filled(optimizer=wrong)


def test_it_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="compile=True with optimizer="):
        filled(optimizer=torch.optim.SGD, compile=True)
