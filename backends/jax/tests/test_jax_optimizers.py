"""``optimizer=`` takes the transformations of optax, in train_step and in compiled training."""

from typing import Any

import numpy as np
import optax
import pytest

import trifolium as tri
from trifolium_jax import CompiledTraining

from .corridor import Corridor

OPTIONS: dict[str, Any] = {"hidden": (8,), "batch_size": 16, "n_step": 1, "seed": 0, "backend": "jax"}


def filled(**options: Any) -> tri.DDQN:
    model = tri.DDQN(3, 2, 100, **OPTIONS | options)
    rng = np.random.default_rng(0)
    for step in range(60):
        model.memory.add(rng.normal(size=3).astype(np.float32), step % 2, 1.0, step % 10 == 9)
    return model


def losses(model: tri.DDQN, count: int) -> list[float]:
    return [float(model.train_step()) for _ in range(count)]


def test_optaxs_adam_is_the_default() -> None:
    ours, theirs = filled(), filled(optimizer=optax.adam(1e-3))
    assert losses(ours, 20) == pytest.approx(losses(theirs, 20), rel=1e-4)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(1e-2, 0.0, 30))),
        optax.sgd(0.1, momentum=0.9),
        optax.chain(optax.adam(1e-2), optax.ema(0.9)),
        optax.inject_hyperparams(optax.adam)(learning_rate=1e-3),
    ],
    ids=["chain", "sgd", "ema", "hyperparameters"],
)
def test_its_state_is_saved_and_loaded(optimizer: Any, tmp_path: Any) -> None:
    model = filled(optimizer=optimizer)
    losses(model, 5)
    model.save(tmp_path / "model", memory=True)
    again = tri.DDQN(3, 2, 100, optimizer=optimizer, **OPTIONS)
    again.load(tmp_path / "model")
    assert losses(again, 5) == losses(model, 5)


@pytest.mark.slow
def test_compiled_training_uses_it() -> None:
    options: dict[str, Any] = {"hidden": (8,), "batch_size": 16, "seed": 0, "backend": "jax"}
    still = tri.DDQN(2, 2, 400, optimizer=optax.set_to_zero(), **options)
    moving = tri.DDQN(2, 2, 400, optimizer=optax.sgd(0.1), **options)
    before = still.state()
    for model in (still, moving):
        CompiledTraining(model, Corridor(), seed=2, train_every=2, learning_starts=64).run(128)
    changed = [
        [not np.array_equal(model.state()[name], before[name]) for name in before if "params." in name]
        for model in (still, moving)
    ]
    assert not any(changed[0])
    assert all(changed[1])
